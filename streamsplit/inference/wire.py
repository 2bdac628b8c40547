"""Messages between a worker and a model process: small JSON objects over a pair of sockets that keep boundaries."""

import json
import socket
from typing import Any

MESSAGE_BYTES = 1 << 17
"""Largest message."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; neither is inherited unless passed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: dict[str, Any]) -> None:
    """Send one message.

    Raises:
        OSError: The other side is gone, or does not read (non-blocking ends).
    """
    end.send(json.dumps(message, separators=(",", ":")).encode())


def receive(end: socket.socket) -> dict[str, Any] | None:
    """Receive one message; None where the other side is gone.

    Raises:
        BlockingIOError: There is none yet (non-blocking ends).
    """
    try:
        data = end.recv(MESSAGE_BYTES)
    except ConnectionError:
        return None
    if not data:
        return None
    message: dict[str, Any] = json.loads(data)
    return message
