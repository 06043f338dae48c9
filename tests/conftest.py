"""Keeps every test away from the user's own state, and the libraries quiet."""

import os

import pytest

from tasks.environment import QUIET

os.environ.update(QUIET)
# Tiny models gain nothing from threads, and several test processes share the cores.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state folder of the test's own; nothing of the shell's VISIONOPS_* variables gets in."""
    for name in [name for name in os.environ if name.startswith(("VISIONOPS", "MLFLOW_TRACKING", "RAY_ADDRESS"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "state"
    monkeypatch.setenv("VISIONOPS_STATE", str(folder))
    return folder
