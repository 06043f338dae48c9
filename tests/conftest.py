"""Quiet, single-threaded libraries in every test; one Prefect server, one Ray and a tiny system for those that train."""

import os
import sys
import time

import pytest
import yaml

from tasks.environment import QUIET

os.environ.update(QUIET)
# Tiny models gain nothing from threads, and several test processes share the cores.
os.environ["OMP_NUM_THREADS"] = "1"

# Those that take longest come first, so that two workers end together; the others follow in the order of their names.
LONGEST = (
    "faults/test_kills.py", "integration/test_train_model.py", "integration/test_deployment.py", "faults/test_machine.py",
    "faults/test_odd_folders.py", "integration/test_compare_models.py", "faults/test_ray_kills.py",
    "integration/test_ray_train.py", "integration/test_monitor_drift.py", "faults/test_size.py", "integration/test_tuning.py",
)  # fmt: skip

RAY_CORES, IDLE_S = 2, 10

TINY = {
    "system": "tiny",
    "title": "Tiny drawn leaves",
    "kind": "classify",
    "data": {
        "source": {"type": "drawn", "images_per_class": 16, "side_px": 64, "seed": 3},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
    },
    "contract": {"min_images_per_class": 5, "split_share_tolerance": 0.2},
    "input": {"side_px": 32, "resize_px": 36},
    "model": {"arch": "mobilenet_v3_small", "weights": "random"},
    "training": {
        "batch_size": 8,
        "precision": "float32",
        "stages": [{"name": "all", "epochs": 1, "trainable": "all", "lr": 1.0e-3}],
        "stages_from_scratch": [{"name": "all", "epochs": 1, "trainable": "all", "lr": 1.0e-3}],
    },
    "export": {"int8": False},
    "evaluation": {"bootstrap_samples": 100, "latency_runs": 5, "latency_warmup_runs": 1},
}


@pytest.fixture(scope="session")
def prefect_server():
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def ray():
    """Ray with two cores on any machine. Files in a row that use it share it: see `pytest_runtest_teardown`. A file that
    left work behind, or fewer cores, leaves no Ray to the next one."""
    import ray

    from tasks.cluster.session import OBJECT_STORE_BYTES

    if ray.is_initialized() and not idle(ray):
        ray.shutdown()
    if not ray.is_initialized():
        # It looks for machines that a cloud takes back: one process less for each training.
        os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init("local", num_cpus=RAY_CORES, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    return ray


def idle(ray):
    """Are all its cores free, or soon?"""
    end = time.monotonic() + IDLE_S
    while (free := ray.available_resources().get("CPU", 0)) < RAY_CORES and time.monotonic() < end:
        time.sleep(0.1)
    return free == RAY_CORES


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Stops Ray behind the last file of a row: its start, and its workers' imports, cost more than many a test."""
    wanted = nextitem is not None and (nextitem.path == item.path or "ray" in nextitem.fixturenames)
    if not wanted and hasattr(sys.modules.get("ray"), "shutdown"):
        sys.modules["ray"].shutdown()


def pytest_collection_modifyitems(items):
    """By `LONGEST`, then Ray's files in a row; the order within a file stays."""
    users = {item.path for item in items if "ray" in item.fixturenames}

    def place(item):
        name = "/".join(item.path.parts[-2:])
        return LONGEST.index(name) if name in LONGEST else len(LONGEST) + (item.path not in users)

    items.sort(key=place)


@pytest.fixture(scope="module")
def shared_state(tmp_path_factory):
    """A state folder for the tests of one module, in their order."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("VISIONOPS", "RAY_ADDRESS"))]:
            patch.delenv(name)
        patch.setenv("VISIONOPS_STATE", str(folder))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield folder


@pytest.fixture(scope="session")
def back_ends(tmp_path_factory):
    """deploy/compose's servers on a real PostgreSQL and an S3 API, for tests that are run by hand: two minutes to start."""
    from tests.back_ends import need_back_ends
    from tests.composed import composed

    need_back_ends()
    with composed(tmp_path_factory.mktemp("composed")) as running:
        yield running


@pytest.fixture
def tiny(tmp_path):
    """Writes the tiny system with changes to its top-level sections, and returns the file's path."""

    def write(**changes):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return str(path)

    return write


def pytest_addoption(parser):
    parser.addoption("--write-faults", action="store_true", help="write what the fault tests see to docs/faults.md")
