import os

import pytest

from configs.load import settings
from tasks.environment import hand_on_login
from tasks.services import check_service
from tests.locked_registry import PASSWORD, USER, registry
from vision.errors import MachineError, UserError


def test_a_database_that_can_not_be_used_is_told_before_work_and_without_its_password():
    with pytest.raises(MachineError, match=r"VISIONOPS_DATABASE_URL") as told:
        check_service("postgresql://ann:s3cret@127.0.0.1:9/audit", "VISIONOPS_DATABASE_URL")
    assert "127.0.0.1:9" in str(told.value) and "s3cret" not in str(told.value)


def test_a_registry_behind_a_proxy_that_says_502_is_away():
    with registry(status=502) as uri, pytest.raises(MachineError, match="status 502"):
        check_service(uri, "VISIONOPS_MLFLOW_URI")


@pytest.fixture
def login(monkeypatch):
    """Sets the login as `.env` or the environment does; none at first."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def put(user: str, password: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    return put


def test_a_registry_that_asks_for_a_login_gets_it_and_nobody_passes_without(login):
    with registry() as uri:
        with pytest.raises(UserError, match="does not let us in") as told:
            check_service(uri, "VISIONOPS_MLFLOW_URI")
        assert "MLFLOW_TRACKING_PASSWORD" in told.value.do
        login(USER, "wr0ng-wr0ng-wr0ng")
        with pytest.raises(UserError, match="does not let us in") as told:
            check_service(uri, "VISIONOPS_MLFLOW_URI")
        assert "wr0ng" not in str(told.value)
        login(USER, PASSWORD)
        check_service(uri, "VISIONOPS_MLFLOW_URI")


def test_the_login_of_dotenv_reaches_mlflow_and_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "")  # so that what is set here is taken back
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    (tmp_path / ".env").write_text(f"MLFLOW_TRACKING_USERNAME={USER}\nMLFLOW_TRACKING_PASSWORD={PASSWORD}\n")
    assert PASSWORD not in repr(settings())
    hand_on_login(settings())
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == PASSWORD
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
    hand_on_login(settings())
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "another"
