"""What a predictor tells others: records, metrics, images to keep. Each is a Protocol with a twin that does nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. key_id: of the key or the token. client_hash: as records name it. scopes: what the key allows."""

    key_id: str
    client_hash: str | None
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says beside its image. top_k: None for the system's own. keep: only with a key that may."""

    top_k: int | None = None
    client: Client | None = None
    keep: bool = False


class Recorder(Protocol):
    def append(self, fields: Mapping[str, Any]) -> object:
        """fields: those of `vision.records.Record`. Called in the event loop before the answer leaves: brief, and
        never raises."""


class Keeper(Protocol):
    def keep(self, data: bytes, prediction_id: str, client_hash: str | None) -> object:
        """Stores the bytes of an answered image. Called in a thread; may block, never raises."""


class Observer(Protocol):
    """Called in the event loop: brief, and never raises."""

    def answered(self, fields: Mapping[str, Any], decode_s: float) -> None:
        """fields: those of the record."""

    def refused(self, reason: str) -> None:
        """An image or a request: `ImageError.reason`, `overloaded`, `timeout`."""

    def failed(self) -> None:
        """The engine failed on an image."""


class NullRecorder:
    def append(self, fields: Mapping[str, Any]) -> None:
        pass


class NullObserver:
    def answered(self, fields: Mapping[str, Any], decode_s: float) -> None:
        pass

    def refused(self, reason: str) -> None:
        pass

    def failed(self) -> None:
        pass
