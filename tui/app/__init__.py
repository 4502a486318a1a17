"""The console itself: what each command does, and how the state is kept in step with the server."""
