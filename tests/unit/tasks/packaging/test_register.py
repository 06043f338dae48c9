"""Aliases and release file on a real MLflow, whatever step a killed process had come to."""

import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from tasks.audit import read_audit
from tasks.packaging.champion import fetch_package
from tasks.packaging.register import _set_alias, register
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, alias_version, register_version
from vision.errors import MachineError
from vision.package import REQUIRED, Spec, open_package, seal_package
from vision.release import read_release

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "systems" / "leaf"
    folder.mkdir(parents=True)
    uri, config = f"sqlite:///{tmp_path / 'mlflow.db'}", {"system": "leaf", "semver": "0.1.0"}
    return SimpleNamespace(
        config=SimpleNamespace(**config, model=SimpleNamespace(arch="resnet18")), config_sha="c", reason="test",
        folder=folder, packages=folder / "packages", release_file=folder / "release.json",
        database_url=f"sqlite:///{tmp_path / 'state.db'}", tracking_uri=uri, git_tags=dict,
        tracker=lambda: Tracker(uri, folder / "artifacts", "leaf"), single_flight=lambda what: nullcontext(),
    )  # fmt: skip


@pytest.fixture
def tracker(run):
    return run.tracker()


def version(tracker, digit):
    run_id = tracker.open_run(f"key-{digit}", "resnet18", {})
    return register_version(tracker, run_id, digit * 64, {})


def test_the_first_is_champion_the_next_challenger_and_asking_again_changes_nothing(run, tracker):
    first, second = version(tracker, "a"), version(tracker, "b")
    assert _set_alias(run, tracker, first) == (CHAMPION, "first_model")
    assert _set_alias(run, tracker, second) == (CHALLENGER, "passed its gate")
    assert _set_alias(run, tracker, first) == (CHAMPION, "already champion")
    assert _set_alias(run, tracker, second) == (CHALLENGER, "already registered")
    third = version(tracker, "c")
    assert _set_alias(run, tracker, third) == (CHALLENGER, "passed its gate")
    assert _set_alias(run, tracker, second) == (None, "already registered")
    assert [row["what"] for row in read_audit(run.database_url, "leaf")] == [
        "alias:champion", "alias:challenger", "alias:challenger"
    ]  # fmt: skip
    assert read_release(run.release_file).champion.package_sha == "a" * 64


def test_a_champion_whose_release_a_kill_prevented_gets_it_from_the_next_model(run, tracker):
    first = version(tracker, "a")
    tracker.client.set_registered_model_alias("leaf", CHAMPION, "1")
    assert _set_alias(run, tracker, version(tracker, "b"))[0] == CHALLENGER
    release = read_release(run.release_file)
    assert (release.champion.version, release.champion.package_sha) == (1, first.package_sha)


def test_a_champion_whose_alias_a_kill_prevented_gets_it_again(run, tracker, monkeypatch):
    first = version(tracker, "a")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tasks.releasing.change._set_champion", interrupt)
        _set_alias(run, tracker, first)
    assert alias_version(tracker, CHAMPION) is None and not run.release_file.exists()
    assert _set_alias(run, tracker, first) == (CHAMPION, "already champion")
    assert read_release(run.release_file).champion.version == 1
    assert [row["what"] for row in read_audit(run.database_url, "leaf")] == ["alias:champion"]


def interrupt(*words):
    raise KeyboardInterrupt


def test_a_package_that_is_there_is_not_fetched(run):
    (run.packages / ("a" * 64)).mkdir(parents=True)
    assert fetch_package(run, 1, "a" * 64) == run.packages / ("a" * 64)


def sealed(folder, arch):
    folder.mkdir()
    for name in REQUIRED:
        (folder / name).write_text("{}")
    spec = {"schema": 1, "kind": "classify", "arch": arch, "labels": ["a"], "input": {}, "outputs": ["logits"]}
    (folder / "spec.json").write_text(Spec.model_validate(spec).model_dump_json(by_alias=True))
    return seal_package(folder)


def test_two_packages_of_one_training_both_come_back_from_the_registry(run, tracker, tmp_path):
    run_id, made = tracker.open_run("key", "resnet18", {}), {}
    run.packages.mkdir()
    for arch in ("resnet18", "resnet50"):
        sha = sealed(tmp_path / arch, arch)
        (tmp_path / arch).rename(run.packages / sha)
        made[sha] = register.fn(run, trained(run_id, tmp_path), package(sha), SimpleNamespace(folder=tmp_path / "gate"))
    shutil.rmtree(run.packages)
    for sha, version in made.items():
        assert open_package(fetch_package(run, version.version, sha), sha).package_sha == sha
    assert sorted(path.name for path in run.packages.iterdir()) == sorted(made)


def package(sha):
    return SimpleNamespace(key="k", made={"package_sha": sha, "metrics": {"macro_f1": 0.9, "ece": None}})


def trained(run_id, folder):
    for name in ("evaluation", "gate"):
        (folder / name).mkdir(exist_ok=True)
    return SimpleNamespace(
        model=SimpleNamespace(made={"run_id": run_id}), evaluation=SimpleNamespace(folder=folder / "evaluation"),
        dataset=SimpleNamespace(dvc_md5="d"), splits=SimpleNamespace(made={"split_sha": "s"}),
        contract=SimpleNamespace(made={"verdict": {}}),
    )  # fmt: skip


def test_a_package_that_is_nowhere_is_one_message_and_leaves_nothing(run, tracker):
    made = version(tracker, "a")
    with pytest.raises(MachineError, match="neither in"):
        fetch_package(run, made.version, "a" * 64)
    assert list(run.packages.iterdir()) == []
