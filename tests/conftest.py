"""Quiet, single-threaded libraries in every test; one Prefect server, one Ray and a tiny system for those that train."""

import os

import pytest
import yaml

from tasks.environment import QUIET

os.environ.update(QUIET)
# Tiny models gain nothing from threads, and several test processes share the cores.
os.environ["OMP_NUM_THREADS"] = "1"

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
    import ray

    from tasks.cluster.session import ensure_ray

    ensure_ray(None)
    yield ray
    ray.shutdown()


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
