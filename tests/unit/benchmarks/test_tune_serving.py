"""What the tuner measures, and what it leaves alone."""

from types import SimpleNamespace

import pytest
import yaml

from benchmarks.tune_serving import INT8, may_use_int8, own_serving, profile_of, rank
from bentos.resources import cores
from configs.profile import ServingProfile, device_name, write_profile

SHA = "a" * 64
ROW = {"workers": 2.0, "threads": 1.0, "max_batch": 16.0, INT8: 0.0, "per_second": 100.0, "lone_p50_ms": 9.0}


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"serving": {"engine": "onnxruntime"}}))
    return SimpleNamespace(folder=tmp_path, package_sha=SHA, spec=SimpleNamespace(int8=SimpleNamespace(passed=True)))


def test_int8_is_measured_again_though_an_earlier_tuning_chose_it(package):
    sizes = {"workers": 2, "threads": 1, "max_batch": 8, "max_queue": 64}
    earlier = ServingProfile(device=device_name(cores()), package_sha=SHA, int8=True, **sizes)
    write_profile(package.folder, earlier)
    assert own_serving(package).precision == "auto" and may_use_int8(package)


@pytest.mark.parametrize(("name", "value"), [("PRECISION", "float32"), ("ENGINE", "torch")])
def test_int8_is_not_measured_where_the_settings_leave_no_room_for_it(package, monkeypatch, name, value):
    monkeypatch.setenv(f"VISIONOPS__SERVING__{name}", value)
    assert not may_use_int8(package)


def test_a_profile_says_which_engine_was_measured(package):
    assert profile_of(package, ROW, [ROW]).engine == "onnxruntime"


def test_a_percent_is_noise_and_ten_are_not():
    assert rank(ROW) > rank(ROW | {INT8: 1.0}) > rank(ROW | {"per_second": 90.0})
    assert rank(ROW | {INT8: 1.0, "per_second": 110.0}) > rank(ROW)
