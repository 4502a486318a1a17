"""The client of the server, for the console, for `ask` and for `doctor`."""
