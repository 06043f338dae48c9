"""Evidently's report of a window: an HTML page of its own, and a snapshot for Evidently's UI. No verdict rests on it."""

import json
import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.stages import write_json
from vision.monitoring.columns import EMBEDDING, Pair, pairs, untested

PAGE = "evidently.html"
# Named, since Evidently's defaults change with the number of rows: p-values up to 1,000, distances from there on.
NUMBERS, CATEGORIES = "ks", "chisquare"
INDEX = "visionops.json"
"""In the workspace: name of a window -> id of its snapshot."""


class Workspace(NamedTuple):
    """Evidently's folder (`evidently ui --workspace`), our project in it, and how many snapshots stay."""

    folder: Path
    project: str
    kept: int


def write_evidently(
    reference: pd.DataFrame, window: pd.DataFrame, folder: Path, workspace: Workspace, name: str
) -> dict[str, str]:
    """Writes PAGE into `folder` and adds the snapshot `name` to `workspace`. Returns what Evidently says of each column.

    Its statistics fail on some tables that ours stand (a class with one row, say): then the answer is empty, and the
    log says why.
    """
    found = [pair for pair in pairs(reference, window) if untested(pair) is None]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return _report(found, folder, workspace, name) | _embedding_views(found)
    except Exception as error:
        logging.getLogger(__name__).warning("no report by Evidently: %s: %s", type(error).__name__, error)
        return {}


def _report(found: list[Pair], folder: Path, workspace: Workspace, name: str) -> dict[str, str]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [pair.name for pair in found if pair.kind == "number"]
    categories = [pair.name for pair in found if pair.kind == "category"]
    if not numbers + categories:
        return {}
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    plain = [pair for pair in found if pair.kind != "embedding"]
    served = Dataset.from_pandas(pd.DataFrame({p.name: pd.Series(p.window) for p in plain}), data_definition=definition)
    known = Dataset.from_pandas(
        pd.DataFrame({p.name: pd.Series(p.reference) for p in plain}), data_definition=definition
    )
    preset = DataDriftPreset(columns=numbers + categories, num_method=NUMBERS, cat_method=CATEGORIES)
    snapshot = Report([preset]).run(served, known, name=name)
    snapshot.save_html(str(folder / PAGE))
    _add_to_workspace(snapshot, workspace, name)
    metrics = [metric for metric in snapshot.dict()["metrics"] if metric["config"]["type"].endswith("ValueDrift")]
    return {m["config"]["column"]: f"{m['config']['method']} p = {float(m['value']):.2g}" for m in metrics}


def _add_to_workspace(snapshot, workspace: Workspace, name: str) -> None:
    """A window that is judged again after a kill takes the place of its first snapshot; the oldest ones go."""
    from evidently.ui.workspace import Workspace as Store

    store = Store.create(str(workspace.folder))
    found = store.search_project(workspace.project)
    project = found[0] if found else store.create_project(workspace.project)
    index = workspace.folder / INDEX
    runs = json.loads(index.read_text()) if index.is_file() else {}
    oldest = list(runs)[: max(0, len(runs) - workspace.kept)]
    for old in dict.fromkeys([name] * (name in runs) + oldest):
        with suppress(FileNotFoundError):  # A killed run had deleted it, and had not yet written so.
            store.delete_run(project.id, runs[old])
        del runs[old]
    runs[name] = str(store.add_run(project.id, snapshot).id)
    write_json(index, runs)


def _embedding_views(found: list[Pair]) -> dict[str, str]:
    """Its methods called bare: in a report they run t-SNE for a minute."""
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import mmd, model

    views = {}
    for pair in found:
        if pair.name == EMBEDDING:
            served, known = pd.DataFrame(pair.window), pd.DataFrame(pair.reference)
            score, area = mmd(bootstrap=False)(served, known)[0], model()(served, known)[0]
            views[pair.name] = f"MMD {float(score):.3g}, domain classifier {float(area):.2f}"
    return views
