from pathlib import Path

from configs.paths import StatePaths


def test_paths_follow_the_design_and_make_nothing(tmp_path):
    paths, root = StatePaths(tmp_path / "state"), tmp_path / "state"
    assert paths.stage("s", "train", "abc") == root / "systems/s/stages/train/abc"
    assert paths.package("s", "abc") == root / "systems/s/packages/abc"
    assert paths.release("s") == root / "systems/s/release.json"
    assert (paths.records("s"), paths.feedback("s"), paths.inbox("s")) == tuple(
        root / "systems/s" / name for name in ("records", "feedback", "inbox")
    )
    assert paths.profile("cpu", "abc") == root / "profiles/cpu/abc.json"
    assert (paths.mlflow_db, paths.state_db) == (root / "mlflow.db", root / "state.db")
    assert not root.exists()


def test_a_relative_state_folder_is_made_absolute_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = StatePaths(Path(".visionops"))
    monkeypatch.chdir("/")
    assert paths.datasets == tmp_path / ".visionops/datasets"
