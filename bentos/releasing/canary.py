"""A challenger that answers some of the clients: where it can't, the champion does, and that is written down."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bentos.answers import Answered
from bentos.batching.batcher import Closed, Overloaded
from bentos.batching.lane import CANARY, Lane
from bentos.releasing.failures import Failures, Told, in_words
from bentos.releasing.router import Router
from vision.preprocess import ImageError

PATIENCE = 3
"""The challenger has one part in so many of a request's time: then the champion can still answer."""
Result = TypeVar("Result")


class Canary:
    def __init__(self, router: Router, timeout_s: float, told: Told) -> None:
        """timeout_s: of a whole request."""
        self._router, self._timeout_s, self._told = router, timeout_s / PATIENCE, told
        self._failures = Failures(told)

    async def ask(self, lane: Lane, ask: Callable[[Lane], Awaitable[Result]]) -> Result:
        """lane: the challenger's. Raises `ImageError`, which is nobody's fault, and what `ask` raises of the champion.

        A full queue is no failure of the challenger's: one client of many may have filled it. Nor is an image that the
        champion fails on too.
        """
        failed: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ask(lane)
        except (ImageError, Closed):
            raise
        except Overloaded:
            self._told()[1].dropped(CANARY)
        except Exception as error:
            failed = error
        try:
            result = await ask(self._router.lanes.champion)
        except (Overloaded, Closed, TimeoutError, asyncio.CancelledError):
            # No place, or no time left: the image was never the matter, so the failure stays the challenger's.
            self._tell(lane, failed, None)
            raise
        self._tell(lane, failed, result)
        return result

    def _tell(self, lane: Lane, failed: Exception | None, result: object) -> None:
        if failed is not None:
            served, pair_id = lane.served, result.fields["id"] if isinstance(result, Answered) else None
            self._failures.add(served.release, served.model, CANARY, in_words(failed), pair_id)
