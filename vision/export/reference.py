"""What the package remembers of its held-back images: the rows that drift is measured against, and the golden ones."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vision.data.features import FEATURES
from vision.kinds import answering
from vision.package import Spec


def reference_table(
    rows: Mapping[str, pd.DataFrame], outputs: Mapping[str, Mapping[str, np.ndarray]], spec: Spec
) -> pd.DataFrame:
    """One row an image of the splits given (val, test): path, sha256, split, family, FEATURES, the summary of the answer,
    and the embedding as e0 ... e31 (float32). Only images that no training step saw.
    """
    kind, tables = answering(spec.kind), []
    for split, table in rows.items():
        sizes = list(zip(table["width_px"].astype(int), table["height_px"].astype(int), strict=True))
        answers = kind.answers(outputs[split], spec, sizes, top_k=1)
        summaries = pd.DataFrame([kind.summary(answer) for answer in answers]).add_prefix("answer_")
        embedding = pd.DataFrame(outputs[split]["embedding"]).add_prefix("e")
        kept = table[["path", "sha256", "label", "family", "split", *FEATURES]].reset_index(drop=True)
        tables.append(pd.concat([kept, summaries, embedding], axis=1))
    return pd.concat(tables, ignore_index=True)


def pick_golden(rows: pd.DataFrame, count: int) -> list[str]:
    """Paths of `count` images (all, when there are fewer), taken from the labels in turn, the first by path of each."""
    turn = rows.sort_values("path").groupby("label").cumcount()
    return rows.assign(turn=turn).sort_values(["turn", "label", "path"])["path"].head(count).tolist()
