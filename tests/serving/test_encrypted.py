"""A service whose champion lies encrypted: it answers as the package does, and the plain one is in memory only."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import bentos.releasing.plain as plain
from bentos.engine import ready_engine
from bentos.releasing.source import open_served, read_serving
from tasks.packaging.device import write_device
from vision.errors import MachineError, UserError
from vision.package_key import new_key, read_key
from vision.release import read_release

PROJECT = Path(__file__).resolve().parents[2]
SYSTEM = "quickstart"


@pytest.fixture
def memory(monkeypatch):
    """A memory file system's folder that is this test's own."""
    if not plain._is_memory(plain.SHARED_MEMORY):
        pytest.skip(f"{plain.SHARED_MEMORY} is no tmpfs here")
    plain._in_memory.cache_clear()
    with tempfile.TemporaryDirectory(dir=plain.SHARED_MEMORY) as folder:
        monkeypatch.setattr(plain, "SHARED_MEMORY", Path(folder))
        yield Path(folder)
    plain._in_memory.cache_clear()


@pytest.fixture
def device(made, tmp_path, monkeypatch):
    """Its release file; the key is named in the environment."""
    new_key(tmp_path / "key")
    monkeypatch.setenv("VISIONOPS_PACKAGE_KEY_FILE", str(tmp_path / "key"))
    write_device(made.package, 3, SYSTEM, tmp_path / "state", read_key(tmp_path / "key"))
    return tmp_path / "state" / "systems" / SYSTEM / "release.json"


def copies(memory: Path) -> list[Path]:
    return [path for path in memory.glob("visionops-*-packages/*") if plain.COPY.fullmatch(path.name)]


def test_the_engine_answers_from_memory_and_nothing_plain_lies_beside_the_file(device, memory, made):
    served = open_served(device)
    assert served.package.package_sha == made.package.package_sha
    assert served.package.folder.is_relative_to(memory)
    assert memory.stat().st_mode & 0o077 == 0 and copies(memory)[0].stat().st_mode & 0o077 == 0
    ready_engine(served.package)
    kept = [path.name for path in device.parent.rglob("*") if path.is_file()]
    assert sorted(kept) == sorted([f"{made.package.package_sha}.encrypted", "release.json", "release.json.lock"])
    assert read_serving(device)[0] == SYSTEM


def test_processes_share_one_copy_and_the_last_removes_it(device, memory):
    code = (
        "import sys; from pathlib import Path; import bentos.releasing.plain as plain;"
        "plain.SHARED_MEMORY = Path(sys.argv[1]); from bentos.releasing.source import open_served;"
        "print(open_served(Path(sys.argv[2])).package.folder, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(memory), str(device)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT) for _ in range(2)]
    folders = [one.stdout.readline() for one in started]
    assert folders[0] == folders[1] and len(copies(memory)) == 1
    started[0].communicate(timeout=30)
    assert len(copies(memory)) == 1, "the other one uses it"
    started[1].kill()
    started[1].wait()
    assert len(copies(memory)) == 1, "a killed one can't"
    third = subprocess.run(command, input=b"", capture_output=True, timeout=60, cwd=PROJECT)
    assert third.stdout == folders[0] and copies(memory) == []


def test_an_update_of_a_device_is_the_next_release(device, made, tmp_path):
    write_device(made.package, 4, SYSTEM, tmp_path / "state", read_key(tmp_path / "key"))
    release = read_release(device)
    assert (release.no, release.champion.version) == (1, 4)


def test_a_state_folder_that_is_served_plain_is_left_alone(made, state, tmp_path):
    shutil.copytree(state, tmp_path / "own")
    with pytest.raises(UserError, match="is not for a device"):
        write_device(made.package, 3, SYSTEM, tmp_path / "own", bytes(32))


def test_no_disk_takes_the_place_of_memory(device, memory, monkeypatch, tmp_path):
    monkeypatch.setattr(plain, "IN_MEMORY", ())
    with pytest.raises(MachineError, match="of memory to be decrypted into"):
        open_served(device)
    assert not list(tmp_path.rglob("model.onnx"))
