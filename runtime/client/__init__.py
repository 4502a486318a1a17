"""The client of the branch's server, for the console, for `ask` and for `doctor`.

client             `Client`: answers as events, status, articles, search
agents             `Agents`: what an agent does besides asking
outbox             `ServerOutbox`: what leaves the branch
transport          `Transport`: requests over the home's socket, errors as their classes
server_process     `ensure_server`: the running server, or a child
"""
