"""What a predictor tells others: records, metrics, images to keep. Each is a Protocol with a twin that does nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vision.failures import Failure


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. key_id: of the key or the token. client_hash: as records name it. scopes: what the key allows.

    address: of who has no key. It tells nobody apart where a proxy stands in front: `bentos.releasing.router` goes by the image.
    """

    key_id: str
    client_hash: str | None
    scopes: frozenset[str]
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says beside its image. top_k: None for the system's own. keep: only with a key that may.
    explain: the picture of `/explain` goes with the answer."""

    top_k: int | None = None
    client: Client | None = None
    keep: bool = False
    explain: bool = False


class Recorder(Protocol):
    def append(self, fields: Mapping[str, Any]) -> object:
        """fields: those of `vision.records.Record`. Called in the event loop before the answer leaves: brief, and
        never raises."""

    def append_failure(self, failure: Failure) -> object:
        """Of a challenger. Never raises."""


class Keeper(Protocol):
    def keep(self, data: bytes, prediction_id: str, client_hash: str | None) -> bool:
        """Stores the bytes of an answered image; False when it could not. Called in a thread; may block, never raises."""


class Observer(Protocol):
    """Called in the event loop: brief, and never raises."""

    def answered(self, fields: Mapping[str, Any], decode_s: float) -> None:
        """fields: those of the record."""

    def refused(self, reason: str) -> None:
        """An image or a request: `ImageError.reason`, `overloaded`, `timeout`."""

    def failed(self) -> None:
        """The engine failed on an image."""

    def shadowed(self) -> None:
        """The challenger answered an image beside the champion."""

    def dropped(self, route: str) -> None:
        """The challenger had no room for an image; route: `shadow`, `canary`."""

    def challenger_failed(self, route: str) -> None:
        """The champion goes on in its place; route: `shadow`, `canary`, `load`."""


class NullRecorder:
    def append(self, fields: Mapping[str, Any]) -> None:
        pass

    def append_failure(self, failure: Failure) -> None:
        pass


class NullObserver:
    def answered(self, fields: Mapping[str, Any], decode_s: float) -> None:
        pass

    def refused(self, reason: str) -> None:
        pass

    def failed(self) -> None:
        pass

    def shadowed(self) -> None:
        pass

    def dropped(self, route: str) -> None:
        pass

    def challenger_failed(self, route: str) -> None:
        pass
