"""Which lane answers whom. A client stays where it is for as long as a release has the same salt and share.

Who has no key is a program on this machine (`bentos.access.gate`), so all of them have one address, and behind a proxy
all the world has. There the image takes the client's place: each is answered by one model, whoever sends it again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from bentos.batching.lane import CANARY, SHADOW, Lane
from bentos.hooks import Client
from vision.release import Release, sticky_below, sticky_number


@dataclass(frozen=True, eq=False)
class Lanes:
    """The lanes of one release. challenger: None where the release has none, or it could not be taken up."""

    release: Release
    champion: Lane
    challenger: Lane | None = None

    def __iter__(self) -> Iterator[Lane]:
        yield self.champion
        if self.challenger is not None:
            yield self.challenger

    @property
    def answering(self) -> tuple[Lane, ...]:
        """Those that clients meet: not a shadow."""
        return tuple(lane for lane in self if lane.route != SHADOW)

    @property
    def held(self) -> int:
        """Images of clients that are accepted and not answered; a shadow keeps nobody waiting."""
        return sum(lane.batcher.held for lane in self.answering)

    def find(self, package_sha: str) -> Lane | None:
        return next((lane for lane in self if lane.info["package_sha"] == package_sha), None)


END_BYTES = 2**15
"""By so much of either end of its file an image is known: a large one isn't read through for this. A camera's bitmaps are all of
one length and may begin with the same border."""


class Router:
    """Costs about a microsecond a request, and a tenth of that while there is no canary."""

    def __init__(self, lanes: Lanes) -> None:
        self.swap(lanes)

    def swap(self, lanes: Lanes) -> "Lanes | None":
        """From now on these answer; returns those before, to be closed where they are not among these."""
        old = getattr(self, "lanes", None)
        self.lanes = lanes
        canary = lanes.challenger is not None and lanes.challenger.route == CANARY
        self._canary = lanes.challenger if canary else None
        self._salt, self._below = lanes.release.salt, sticky_below(lanes.release.share)
        return old

    def lane_of(self, client: Client | None, data: bytes | None = None) -> Lane:
        """client: None where nobody is told apart; then the champion answers. data: the image file, None where it has
        not come yet: then the champion's for who has no key."""
        if self._canary is None or client is None:
            return self.lanes.champion
        name = client.key_id if client.address is None else data and image_name(data)
        mine = bool(name) and sticky_number(self._salt, name) < self._below
        return self._canary if mine else self.lanes.champion


def image_name(data: bytes) -> str:
    """What an image file is known by, for the choice of a lane alone."""
    return hashlib.sha256(b"%d:" % len(data) + data[:END_BYTES] + data[-END_BYTES:]).hexdigest()
