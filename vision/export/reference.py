"""What the package remembers of its held-back images: the rows that drift is measured against, and the golden ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vision.data.features import FEATURES
from vision.kinds import answering
from vision.kinds.base import COMMON
from vision.package import Spec

PLAIN, BOXES = ("path", "sha256", "label", "family", "split"), "boxes"


def reference_table(
    rows: Mapping[str, pd.DataFrame], outputs: Mapping[str, Mapping[str, np.ndarray]], spec: Spec
) -> pd.DataFrame:
    """One row an image of the splits given (val, test): path, sha256, label, split, family, FEATURES, the summary of the answer,
    the embedding as e0 ... e31 (float32), and `boxes` where the manifest knows any. Only images that no training step saw.

    label: `Answering.truth`, so that an answer was right where it equals `answer_label`.
    """
    kind, tables = answering(spec.kind), []
    for split, table in rows.items():
        sizes = list(zip(table["width_px"].astype(int), table["height_px"].astype(int), strict=True))
        answers = kind.answers(outputs[split], spec, sizes, top_k=1)
        embedding = pd.DataFrame(outputs[split]["embedding"]).add_prefix("e")
        names = [name for name in (*PLAIN, *FEATURES, BOXES) if name in table]
        kept = table[names].reset_index(drop=True)
        truths = [kind.truth(row, answer) for row, answer in zip(kept.to_dict("records"), answers, strict=True)]
        said = _summaries([kind.summary(answer) for answer in answers])
        tables.append(pd.concat([kept.assign(label=truths), said, embedding], axis=1))
    found = pd.concat(tables, ignore_index=True)
    # Of data without boxes the column holds nothing.
    return found.drop(columns=BOXES) if BOXES in found and found[BOXES].isna().all() else found


def _summaries(summaries: list[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns answer_*; what the kind measures beside label and confidence is float64, also where no answer has a value."""
    table = pd.DataFrame(summaries)
    more = [name for name in table if name not in COMMON]
    return table.astype(dict.fromkeys(more, "float64")).add_prefix("answer_")


def pick_golden(rows: pd.DataFrame, count: int) -> list[str]:
    """Paths of `count` images (all, when there are fewer), taken from the labels in turn, the first by path of each."""
    turn = rows.sort_values("path").groupby("label").cumcount()
    return rows.assign(turn=turn).sort_values(["turn", "label", "path"])["path"].head(count).tolist()
