"""Draws what a service writes down of one release: answers of two models, failures, and labels that people gave."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from uuid6 import uuid7

from vision.failures import Failure, failure_line
from vision.records import Feedback, feedback_line, record_line
from vision.records_log import LineLog
from vision.release import Release, ReleasedModel
from vision.rollout_rows import Logs

LABELS = np.array(["amber", "moss", "slate"])
CLIENTS = 12


@dataclass(frozen=True)
class Nature:
    """How a model answers. ms: for one image, times a spread of a third."""

    wrong: float = 0.1
    unsure: float = 0.1
    ms: float = 5.0


@dataclass
class Drawn:
    """folder: of one system. at: what the service's clock says. key_id: who says the labels."""

    folder: Path
    release: Release
    seed: int = 0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    key_id: str = "k"

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.logs = Logs(*(self.folder / name for name in ("records", "failures", "feedback")))

    def shadow(self, count: int, nature: Nature = Nature(), champion: Nature = Nature(), labelled: float = 0.0) -> None:
        """Images that both answer; the label comes for a share of them."""
        rows, said = [], []
        for _ in range(count):
            true = self.rng.choice(LABELS)
            first = self._record(self.release.champion, "champion", champion, true)
            rows += [first, self._record(self.release.challenger, "shadow", nature, true, first["id"])]
            said += [(first["id"], true)] * bool(self.rng.random() < labelled)
        self._write(rows, said)

    def canary(self, count: int, nature: Nature = Nature(), champion: Nature = Nature(), labelled: float = 0.0) -> None:
        """`count` answers of the challenger, each among nine of the champion to other clients."""
        rows, said = [], []
        for number in range(count * 10):
            true, mine = self.rng.choice(LABELS), number % 10 == 5
            model = self.release.challenger if mine else self.release.champion
            rows.append(self._record(model, "canary" if mine else "champion", nature if mine else champion, true))
            said += [(rows[-1]["id"], true)] * bool(self.rng.random() < labelled)
        self._write(rows, said)

    def alone(self, count: int, champion: Nature = Nature(), labelled: float = 0.0) -> None:
        """Answers of the champion."""
        drawn = [(true, self._record(self.release.champion, "champion", champion, true)) for true in self._true(count)]
        said = [(row["id"], true) for true, row in drawn if self.rng.random() < labelled]
        self._write([row for _, row in drawn], said)

    def fail(self, count: int, route: str = "shadow", error: str = "ValueError: not finite") -> None:
        model = self.release.challenger
        log = LineLog(self.logs.failures)
        for _ in range(count):
            line = Failure(
                at=self.at, id=None if route == "load" else str(uuid7()), package_sha=model.package_sha,
                model_version=model.version, release_no=self.release.no, route=route, error=error,
            )  # fmt: skip
            log.append(failure_line(line))
        log.close()

    def _true(self, count: int) -> list[str]:
        return list(self.rng.choice(LABELS, count))

    def _record(self, model: ReleasedModel, route: str, nature: Nature, true: str, pair: str | None = None) -> dict:
        others = LABELS[true != LABELS]
        batch = int(self.rng.integers(1, 5))
        return {
            "id": str(uuid7()), "at": self.at, "package_sha": model.package_sha, "model_version": model.version,
            "release_no": self.release.no, "route": route, "pair_id": pair,
            "client_hash": f"{self.rng.integers(CLIENTS):016x}", "batch_size": batch, "queue_ms": 1.0,
            "compute_ms": nature.ms * batch * float(np.exp(self.rng.normal(0, 0.3))), "features": {}, "embedding": [],
            "answer": {"label": str(self.rng.choice(others) if self.rng.random() < nature.wrong else true)},
            "confidence": 0.9, "confident": bool(self.rng.random() >= nature.unsure),
        }  # fmt: skip

    def _write(self, rows: list[dict], said: list[tuple[str, str]]) -> None:
        records, feedback = LineLog(self.logs.records), LineLog(self.logs.feedback)
        for row in rows:
            records.append(record_line(row))
        for made, label in said:
            feedback.append(feedback_line(Feedback(id=made, label=str(label), at=self.at, key_id=self.key_id)))
        records.close()
        feedback.close()
