"""Accepted connections from worker to worker, as open sockets over a Unix socket (SCM_RIGHTS, unix(7))."""

import array
import socket
from pathlib import Path

NOTE = b"connection"
"""A message must have a byte; the socket travels beside it."""


class Mailbox:
    """A worker's own end; it never waits. Raises `OSError` where it can't be opened, as where the path is too long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)  # of a worker that was here before, and was killed
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(path))

    def send(self, connection: socket.socket, to: Path) -> None:
        """From here on the connection is that worker's, and may be closed here.

        Raises `BlockingIOError` where its mailbox is full, another `OSError` where it is gone.
        """
        # Not `socket.send_fds`: it takes an address and sends to none (CPython 3.11).
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))
        self.socket.sendmsg([NOTE], [rights], 0, str(to))

    def receive(self) -> socket.socket | None:
        """The next one; None where this process had no file handle left for it, so that the kernel dropped it.

        Raises `BlockingIOError` where none waits.
        """
        note, files, _, _ = socket.recv_fds(self.socket, len(NOTE), 1)
        if not note:
            raise BlockingIOError
        return socket.socket(fileno=files[0]) if files else None

    def shut(self) -> None:
        """Takes no more: who sends learns it at once. What is in it can still be received."""
        self.socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        self.socket.close()
        self._path.unlink(missing_ok=True)
