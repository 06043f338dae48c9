"""The HTTP server of a worker: uvicorn's, with connections spread over the workers and overload answered at the door."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bentos.connections.acceptor import Acceptor
from bentos.connections.mailbox import Mailbox
from bentos.connections.shares import Meeting, Shares
from bentos.connections.whole_answer import WholeAnswer

log = logging.getLogger("bentos.connections")


class Refusal(NamedTuple):
    """An answer that was made before. rest: the headers' lines, an empty one and the body. closes: the connection ends with it."""

    status: int
    rest: bytes
    closes: bool


TurnAway = Callable[[Scope, Callable[[], bool]], Refusal | None]
"""Asked of each request when its headers are there: what it is answered at once, if so. The second tells, at some cost, whether
another worker has fewer connections."""


class Connection(HttpToolsProtocol):
    """One client's. The server sets the two before the first one is made."""

    shares: ClassVar[Shares | None] = None
    turn_away: ClassVar[TurnAway] = staticmethod(lambda scope, crowded: None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.shares is not None:
            self.shares.end()

    def data_received(self, data: bytes) -> None:
        """uvicorn ends the timer of an idle connection here, and starts it again with an answer. A refusal may leave before its
        body has come; then it is to be started here."""
        super().data_received(data)
        idle = self.cycle is not None and self.cycle.response_complete and not self.pipeline
        if idle and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_asgi_task(self, cycle, app) -> None:
        """A refusal needs no task, no layers and no body: it costs two thirds of what it does as an ASGI answer.

        Who sends requests and reads no answers, or sends many before an answer, is refused further in, where uvicorn waits.
        """
        if self.transport.is_closing():
            return  # after an answer that ends the connection nothing more is done (RFC 9112, section 9.6)
        waits = self.flow.write_paused or self.pipeline
        refusal = None if waits else self.turn_away(cycle.scope, self._crowded)
        if refusal is None:
            cycle.send = WholeAnswer(cycle).send
            super()._start_asgi_task(cycle, app)
            return
        cycle.response_started = cycle.response_complete = True
        dated = [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]
        self.transport.write(b"".join([STATUS_LINE[refusal.status], *dated, refusal.rest]))
        if refusal.closes or not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _crowded(self) -> bool:
        return self.shares is not None and self.shares.crowded()


class Server(uvicorn.Server):
    """BentoML runs `uvicorn.Server`; `stand_in` puts this one there."""

    workers: ClassVar[int] = 1
    folder: ClassVar[Callable[[], Path]]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.http_protocol_class = Connection
        self.config.ws_protocol_class = None  # there is no such route, and its connections would not be counted
        self._acceptor = None
        if self.workers == 1 or not sockets or len(sockets) != 1:
            await super().startup(sockets)
            return
        await super().startup(sockets=[])
        try:
            self._acceptor = self._spread(sockets[0])
            self._acceptor.open()
        except OSError as error:
            log.warning("connections stay with the worker that accepts them: %s", error)
            loop, config = asyncio.get_running_loop(), self.config
            self.servers = [
                await loop.create_server(self._protocol, sock=sockets[0], ssl=config.ssl, backlog=config.backlog)
            ]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()
        await super().shutdown(sockets)

    def _spread(self, listener: socket.socket) -> Acceptor:
        meeting = Meeting(self.folder(), os.getppid(), self.workers)
        shares = meeting.join()
        try:
            mailbox = Mailbox(meeting.mailbox(shares.own))
        except OSError:
            shares.leave()
            raise
        Connection.shares = shares
        return Acceptor(listener, self._serve_on, shares, mailbox, meeting.mailbox)

    async def _serve_on(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)

    def _protocol(self, _loop: asyncio.AbstractEventLoop | None = None) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, _loop)


def stand_in(workers: int, folder: Callable[[], Path], turn_away: TurnAway) -> None:
    """BentoML starts its workers with `uvicorn.Server(config)`, after it has loaded the service's module.

    workers: processes of this server. folder: of this service on this host, asked once the service is ready.
    """
    Server.workers, Server.folder = workers, staticmethod(folder)
    Connection.turn_away = staticmethod(turn_away)
    uvicorn.Server = Server
