"""What a predictor tells, and how long each request took, as metrics."""

import time
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.metrics.names import metrics

MS = 1000.0
GONE, OTHER = "gone", "other"
"""Status of a request whose client left before an answer; endpoint of one that no route took."""
RATE = "rate"
"""The guard's word for a key past its rate."""


class Meter:
    """Implements `bentos.hooks.Observer`. An answer costs a handful of additions in mapped memory."""

    def __init__(self, metrics: SimpleNamespace, held: Callable[[], int]) -> None:
        """held: how many images are accepted and not answered."""
        self._metrics, self._held = metrics, held
        self._of_label, self._of_route = cache(metrics.predictions.labels), cache(metrics.lane_answers.labels)
        self._of_reason = cache(metrics.rejected.labels)

    def answered(self, fields: Mapping[str, Any], decode_s: float) -> None:
        metrics = self._metrics
        metrics.decode_seconds.observe(decode_s)
        metrics.queue_seconds.observe(fields["queue_ms"] / MS)
        metrics.compute_seconds.observe(fields["compute_ms"] / MS)
        metrics.batch_size.observe(fields["batch_size"])
        metrics.confidence.observe(fields["confidence"])
        # A kind without a label of its own answers `none`.
        self._of_label(str(fields["answer"].get("label", "none"))).inc()
        self._of_route(fields["route"]).inc()
        if not fields["confident"]:
            metrics.low_confidence.inc()
        metrics.queue_images.set(self._held())

    def refused(self, reason: str) -> None:
        """reason: one of the few words of the code that refuses, never of the client."""
        self._of_reason(reason).inc()
        if reason == RATE:
            self._metrics.rate_limited.inc()
        self._metrics.queue_images.set(self._held())

    def failed(self) -> None:
        self._metrics.engine_errors.inc()
        self._metrics.queue_images.set(self._held())

    def shadowed(self) -> None:
        self._of_route("shadow").inc()

    def dropped(self, route: str) -> None:
        self._metrics.challenger_dropped.labels(route).inc()

    def challenger_failed(self, route: str) -> None:
        self._metrics.challenger_failures.labels(route).inc()


class Timed:
    """The outermost layer: `request_seconds` of every request, also of those that no route or no key let in.

    BentoML's own request metrics are off: they take the path as a label, so whoever asks for a million paths would
    fill the memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s, status = time.perf_counter(), GONE

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            of_request(_endpoint(scope), status).observe(time.perf_counter() - start_s)


@cache
def of_request(endpoint: str, status: str) -> Any:
    """The histogram of requests to one endpoint with one status."""
    return metrics().request_seconds.labels(endpoint, status)


def _endpoint(scope: Scope) -> str:
    """The name of the function that a route led to: there are as many as we wrote."""
    return getattr(scope.get("endpoint"), "__name__", OTHER)
