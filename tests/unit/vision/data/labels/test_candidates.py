"""Which served images two models dispute: as the service compared them, or by their labels in older records."""

import json

import numpy as np
import pytest
from uuid6 import uuid7

from vision.data.labels.candidates import find_candidates
from vision.records import day_folder, day_number, record_line
from vision.records_log import LineLog


@pytest.mark.parametrize(
    ("other", "agrees", "disputed"),
    [
        ("pit", False, True),
        ("pit", True, False),
        ("scratch", True, False),
        ("pit", None, False),
        ("scratch", None, True),
    ],
)
def test_two_answers_are_disputed_where_the_service_said_so_and_else_where_their_labels_differ(
    tmp_path, other, agrees, disputed
):
    made, log = str(uuid7()), LineLog(tmp_path / "records")
    inbox = tmp_path / "inbox" / day_folder(day_number())
    inbox.mkdir(parents=True)
    (inbox / "image.png").write_bytes(b"kept")
    (inbox / f"{made}.json").write_text(json.dumps({"id": made, "file": "image.png"}))
    for id_, label, more in (
        (made, "pit", {}),
        (str(uuid7()), other, {"route": "shadow", "pair_id": made, **({} if agrees is None else {"agrees": agrees})}),
    ):
        plain = {
            "id": id_,
            "at": "2026-11-21T12:00:00Z",
            "route": "champion",
            "pair_id": None,
            "queue_ms": 0.0,
            "compute_ms": 1.0,
        }
        said = {"answer": {"label": label, "boxes": []}, "confidence": 0.75, "confident": True}
        log.append(record_line({**plain, **said, "features": {}, "embedding": np.zeros(2), **more}))
    log.close()
    found = find_candidates(tmp_path / "inbox", tmp_path / "records", lambda answer: answer["confidence"] / 3)
    [row] = found.table.to_dict("records")
    assert (row["disputed"], row["other_label"], row["margin"]) == (disputed, other, 0.25)
