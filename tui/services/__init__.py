"""What the console needs of the world: the server, files, the clipboard."""
