"""Our own routes, taken before BentoML's router and request context: they need neither, and each request pays for both."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send


class Shortcut:
    """Plain ASGI, the innermost of our layers. What it does not know goes on to BentoML, which mounts `own` as well."""

    def __init__(self, app: ASGIApp, own: ASGIApp, paths: Iterable[str]) -> None:
        """own: the app that has routes for `paths`."""
        self._app, self._own, self._paths = app, own, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"] in self._paths
        await (self._own if ours else self._app)(scope, receive, send)
