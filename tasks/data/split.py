"""Train, val and test by family, append-only: a new data version inherits every assignment of the one before."""

import json
from pathlib import Path

import pandas as pd

from tasks.data.describe import MANIFEST
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage, write_json
from vision.data.splits import assign, placements
from vision.lineage import source_sha
from vision.package import sha256_file

SPLITS, PLACEMENTS = "splits.parquet", "placements.parquet"
ROOTS = ("vision.data.splits",)


@stage_task("split", tags=["data"])
def split(run: Run, manifest: StageResult, move_head: bool = True) -> StageResult:
    """`splits.parquet`: the manifest with `family`, `split` and `left_out`; `placements.parquet`: what later versions inherit.

    move_head: they inherit from this one.
    """
    head_file = run.folder / "split_head.json"
    section = run.config.data.split.model_dump(mode="json")
    asked = {"manifest_sha": manifest.made["manifest_sha"], "section": section, "source": source_sha(ROOTS)}
    parent = _parent(head_file, asked, released=run.release_file.is_file())

    def work(folder):
        before = pd.read_parquet(run.folder / parent["path"]) if parent else None
        table = assign(pd.read_parquet(manifest.folder / MANIFEST), run.config.data.split, before)
        table.to_parquet(folder / SPLITS, index=False)
        placements(table, before).to_parquet(folder / PLACEMENTS, index=False)
        counts = pd.crosstab(table["label"], table["split"]).to_dict("index")
        return {
            "split_sha": sha256_file(folder / SPLITS),
            "counts": counts,
            "families": int(table["family"].nunique()),
            "left_out": int(table["left_out"].notna().sum()),
            "placements_sha": sha256_file(folder / PLACEMENTS),
            "parent": parent["split_sha"] if parent else None,
        }

    plan = StagePlan(
        stage="split",
        section=run.config.data.split,
        inputs={
            "manifest_sha": asked["manifest_sha"],
            "parent": parent and parent.get("placements_sha", parent["split_sha"]),
        },
        roots=ROOTS,
    )
    result = run_stage(run.stages, plan, work)
    if move_head:
        _move_head(head_file, asked, result, parent)
    return result


def inherited_splits(folder: Path) -> dict[str, str]:
    """sha256 -> split of every image that the system in `folder` has ever placed; nothing before its first split."""
    head_file = folder / "split_head.json"
    if not head_file.is_file():
        return {}
    placed = pd.read_parquet(folder / json.loads(head_file.read_text())["path"], columns=["sha256", "split"])
    return dict(zip(placed["sha256"], placed["split"], strict=True))


def _move_head(head_file: Path, asked: dict, result: StageResult, parent: dict | None) -> None:
    """Later splits inherit from `result`. Its path is relative: a state folder may be moved."""
    shas = {name: result.made[name] for name in ("split_sha", "placements_sha")}
    path = (result.folder / PLACEMENTS).relative_to(head_file.parent)
    write_json(head_file, {**asked, **shas, "path": str(path), "parent": parent})


def _parent(head_file: Path, asked: dict, released: bool) -> dict | None:
    """The split to inherit from: the last one, or, when just that is asked for again, the one before it.

    Other split settings, or other code, start afresh while no model is released: only then is there nobody who was trained
    on what would become test images.
    """
    if not head_file.is_file():
        return None
    head = json.loads(head_file.read_text())
    alike = all(head.get(name, asked[name]) == asked[name] for name in ("section", "source"))
    if not alike and not released:
        return None
    if alike and head["manifest_sha"] == asked["manifest_sha"]:
        return head["parent"]
    return {name: head[name] for name in ("split_sha", "placements_sha", "path") if name in head}
