"""A package carries the settings that it was made with; the service that meets it may be a later one."""

from pathlib import Path

import pytest

from bentos.releasing.source import _serving
from vision.errors import UserError

PATH, SHA = Path("config.yaml"), "0" * 64


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path))


def test_a_setting_that_is_gone_does_not_keep_an_older_package_from_being_served():
    assert _serving({"serving": {"features_per_s": 25.0, "top_k": 2}}, PATH, SHA).top_k == 2


def test_in_the_environment_it_is_a_mistake(monkeypatch):
    monkeypatch.setenv("VISIONOPS__SERVING__FEATURES_PER_S", "25")
    with pytest.raises(UserError, match=r"features_per_s"):
        _serving({"serving": {"features_per_s": 25.0}}, PATH, SHA)


def test_a_setting_that_never_was_is_refused():
    with pytest.raises(UserError, match=r"config.yaml: serving.colour"):
        _serving({"serving": {"colour": "red"}}, PATH, SHA)
