"""A registry that does not let a command in: told before anything runs."""

from commands import train

from tests.locked_registry import USER, registry
from vision.edge import MISTAKE


def test_a_wrong_password_of_the_registry_is_told_before_anything_runs(tiny, tmp_path, capfd, monkeypatch, fault):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wr0ng-wr0ng-wr0ng")
    with registry() as uri:
        monkeypatch.setenv("VISIONOPS_MLFLOW_URI", uri)
        said = train(capfd, tiny())
    assert said.code == MISTAKE and "wr0ng" not in said.err + said.out
    assert "does not let us in" in said.message and "MLFLOW_TRACKING_PASSWORD" in said.message
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert kept == []
    fault.saw(
        "Services", "a wrong password for MLflow's login", exit=said.code, says=said.message, kept="nothing ran",
        also=(uri,),
    )  # fmt: skip
