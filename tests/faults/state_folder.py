"""Looks at, and damages, a state folder of the system `tiny`."""

from datetime import datetime

from tasks.tracking import Tracker


def stages(state):
    """stage -> keys of the finished ones."""
    found = {}
    for path in state.glob("systems/tiny/stages/*/*/stage.json"):
        found.setdefault(path.parent.parent.name, set()).add(path.parent.name)
    return found


def versions(tracker):
    return sorted(int(v.version) for v in tracker().client.search_model_versions("name = 'tiny'"))


def flip(path):
    """Changes one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def package(state):
    (folder,) = (path for path in (state / "systems/tiny/packages").iterdir() if (path / "MANIFEST.json").is_file())
    return folder


def empty_registry(path, monkeypatch):
    """MLflow keeps a deleted database open in this process, so it gets another one."""
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", f"sqlite:///{path}")
    return lambda: Tracker(f"sqlite:///{path}", path.parent / "mlartifacts", "tiny")


class EarlierClock(datetime):
    """Set back to the start of 2001."""

    @classmethod
    def now(cls, tz=None):
        return cls(2001, 1, 1, tzinfo=tz)
