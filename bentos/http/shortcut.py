"""The routes that are asked for most, taken before what each request would pay for elsewhere: BentoML's layers (a task,
a timer that outlasts the answer, a context) and two routers."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Ahead:
    """The outermost of our layers. From the start of the app on it stands before BentoML's own layers as well: requests
    for `paths` never enter them, all others do. What is behind bounds the time of those requests itself."""

    def __init__(self, app: ASGIApp, paths: Collection[str]) -> None:
        self._app, self._paths = app, frozenset(paths)
        self._behind = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._stand_before(scope.get("app"))
        await self._app(scope, receive, send)

    def _stand_before(self, outer: Any) -> None:
        """outer: BentoML's Starlette app, which keeps its layers in this attribute."""
        stack = getattr(outer, "middleware_stack", None)
        if stack is not None and stack != self._choose:
            self._behind, outer.middleware_stack = stack, self._choose

    async def _choose(self, scope: Scope, receive: Receive, send: Send) -> None:
        bounded = scope["type"] == "http" and scope["path"] in self._paths
        await (self._app if bounded else self._behind)(scope, receive, send)


class Shortcut:
    """The innermost of our layers. What it does not know goes on to BentoML, which mounts `own` as well."""

    def __init__(self, app: ASGIApp, own: Starlette, endpoints: Mapping[str, Endpoint]) -> None:
        """endpoints: by path, those of POST requests that `own` has a route for, and handlers of their errors."""
        self._app, self._own, self._endpoints = app, own, dict(endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
        elif scope["method"] != "POST":
            await self._own(scope, receive, send)
        else:
            scope["app"], scope["endpoint"] = self._own, endpoint
            await self._answer(endpoint, Request(scope, receive, send))

    async def _answer(self, endpoint: Endpoint, request: Request) -> None:
        """As Starlette does: a fault of ours is answered, and goes on to the server, which logs its trace."""
        fault = None
        try:
            response = await endpoint(request)
        except Exception as error:
            known = next(kind for kind in type(error).__mro__ if kind in self._own.exception_handlers)
            response = await self._own.exception_handlers[known](request, error)
            fault = error if known is Exception else None
        await response(request.scope, request.receive, request._send)
        if fault is not None:
            raise fault
