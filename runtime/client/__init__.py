"""The client of the branch's server, for the console, for `ask` and for `doctor`."""

from runtime.client.client import Client
from runtime.client.own_server import START_TIMEOUT_S, OwnServer, ensure_server, start_server

__all__ = ["START_TIMEOUT_S", "Client", "OwnServer", "ensure_server", "start_server"]
