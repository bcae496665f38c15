"""Which ports of this machine are free. One that is may be taken before it is used: see who starts something there."""

import socket

from soniq.errors import SoniqError

HOST = "127.0.0.1"
LAST = 65535
MOST_LOOKED_AT = 1000
TRIES = 5  # so many ports are taken under one's nose at most


def free_port(first: int) -> int:
    """The first free port from this one on. Raises SoniqError."""
    last = min(first + MOST_LOOKED_AT - 1, LAST)
    for port in range(first, last + 1):
        if is_free(port):
            return port
    raise SoniqError(f"no port from {first} to {last} is free on {HOST}: free one of them")


def is_free(port: int) -> bool:
    """Whether one may listen there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True
