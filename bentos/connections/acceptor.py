"""Takes new connections from the socket that all workers of a server share, and spreads them evenly.

uvloop accepts whatever waits in one go, and who accepted a connection keeps it: eight clients that keep theirs open may all
meet one worker of two. So a worker takes one at a time here, and gives it to the worker that has fewest.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from bentos.connections.mailbox import Mailbox
from bentos.connections.shares import Shares

log = logging.getLogger("bentos.connections")

Serve = Callable[[socket.socket], Awaitable[object]]
"""Begins to answer on a connection. Raises `OSError` where it is over already, as after a failed TLS handshake."""
NO_HANDLES_S = 1.0
"""Pause when the process or the host has no file handle left, as asyncio makes it."""
MOST_MAIL = 8
"""Connections that wait in a worker's mailbox at most; Linux holds ten, or hundreds. What waits at one that hangs, hangs."""
MAIL_S, TRIES, SILENT_S = 0.001, 50, 5.0
"""How long another's full mailbox is waited for, how often, and how long it is left alone then: its worker hangs. A busy one
looks into it within milliseconds."""
BEGIN_S = 1.0
"""A connection that has not begun by then, as in a TLS handshake, is not waited for by a server that stops."""
NO_HANDLES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """For one thread: the event loop's."""

    def __init__(
        self, listener: socket.socket, serve: Serve, shares: Shares, mailbox: Mailbox, mail_of: Callable[[int], Path]
    ) -> None:
        """mail_of: a place's mailbox."""
        self._listener, self._serve, self._shares = listener, serve, shares
        self._mailbox, self._mail_of = mailbox, mail_of
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task] = set()
        self._held: socket.socket | None = None
        """A connection for a worker whose mailbox is full; until it is given away, none is accepted."""
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)
        self._loop.add_reader(self._mailbox.socket.fileno(), self._receive)

    async def close(self) -> None:
        """Accepts no more. What was accepted or given to this worker has begun when this returns."""
        self._shares.leave()
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._loop.remove_reader(self._mailbox.socket.fileno())
        if self._held is not None:
            self._keep(self._held)
        self._mailbox.shut()
        self._receive()
        self._mailbox.close()
        if self._beginning:
            await asyncio.wait(self._beginning, timeout=BEGIN_S)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker had it
        except OSError as error:
            if error.errno not in NO_HANDLES:
                raise
            log.error("no connection is accepted for %.0f s: %s", NO_HANDLES_S, error)
            self._wait(NO_HANDLES_S, lambda: None)
        else:
            self._give(connection, TRIES)

    def _give(self, connection: socket.socket, tries: int) -> None:
        """To whom it belongs; past one that does not come to its mailbox."""
        place = self._shares.choose()
        if place == self._shares.own:
            self._keep(connection)
            return
        try:
            if self._shares.mail(place) >= MOST_MAIL:
                raise BlockingIOError
            self._mailbox.send(connection, self._mail_of(place))
        except BlockingIOError:
            if tries == 0:
                log.warning("worker %d does not come to its mailbox; it gets nothing for %.0f s", place, SILENT_S)
                self._shares.pass_over(place, SILENT_S)
            self._held = connection
            self._wait(MAIL_S, lambda: self._give(connection, (tries or TRIES) - 1))
        except OSError as error:  # it has ended; another is started in its stead
            log.debug("worker %d takes nothing: %s", place, error)
            self._keep(connection)
        else:
            self._shares.give(place)
            connection.close()

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        """Accepts nothing meanwhile."""
        self._loop.remove_reader(self._listener.fileno())
        self._pause = self._loop.call_later(seconds, self._go_on, then)

    def _go_on(self, then: Callable[[], object]) -> None:
        self._pause = self._held = None
        self._loop.add_reader(self._listener.fileno(), self._accept)
        then()

    def _receive(self) -> None:
        """All that lies in the mailbox."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while True:
                connection = self._mailbox.receive()
                self._shares.take()
                if connection is None:
                    log.error("a connection is lost: no file handle is left for it")
                    self._shares.end()
                else:
                    self._begin(connection)

    def _keep(self, connection: socket.socket) -> None:
        self._shares.give(self._shares.own)
        self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._serve_to_end(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _serve_to_end(self, connection: socket.socket) -> None:
        try:
            await self._serve(connection)
        except OSError as error:
            log.debug("a connection was over before it began: %s", error)
            connection.close()
            self._shares.end()
