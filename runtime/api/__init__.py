"""The server's HTTP interface, one module a subject; `app.create_app` puts them together."""
