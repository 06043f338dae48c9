"""What a worker was asked to serve and does not: why, and when it looks again."""

import time
from datetime import UTC, datetime
from pathlib import Path

from bentos.http.schemas import RefusedRelease
from bentos.releasing.failures import in_words

RETRY_MAX_S = 300.0
DOUBLINGS = 9
"""2 s doubled so often is past RETRY_MAX_S; a number that grew with every try would end the watch after a thousand."""


class Refusal:
    """Looked at ever more rarely: what is refused may only have been copied half-way."""

    def __init__(self) -> None:
        self.said: RefusedRelease | None = None
        self.again_s = 0.0

    @property
    def due(self) -> bool:
        return self.said is not None and time.monotonic() >= self.again_s

    def clear(self) -> None:
        self.said = None

    def add(self, error: Exception, folder: Path) -> RefusedRelease:
        """folder: left out of what is said. `/health` is open: it says what is wrong, not where our folders are."""
        reason = in_words(error).replace(f"{folder}/", "")
        tries = 1 + (self.said.tries if self.said is not None and self.said.reason == reason else 0)
        self.said = RefusedRelease(reason=reason, at=datetime.now(UTC), tries=tries)
        self.again_s = time.monotonic() + min(RETRY_MAX_S, 2.0 ** min(tries, DOUBLINGS))
        return self.said
