"""The training benchmark: what is made of its runs, and the CPU time that it counts."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from benchmarks import plain_two_phase
from benchmarks.plain_loops import Speed
from benchmarks.plain_two_phase import Files, judged, start, train_plainly
from benchmarks.ray_cpu import RayCpu
from benchmarks.training import workers_ratio
from benchmarks.training_runs import two_phase_system
from benchmarks.two_phase_summary import Run, Truth, summary, verdict
from vision.errors import UserError

TRUTH = Truth(targets=np.arange(400) % 4, families=np.arange(400) // 2, classes=4)


def run(wall_s, wrong=0, cpu_s=1.0, start_s=0.0):
    """With the first `wrong` answers wrong."""
    answers = TRUTH.targets.copy()
    answers[:wrong] = (answers[:wrong] + 1) % 4
    return Run(wall_s, cpu_s, answers, wall_s - start_s)


@pytest.mark.parametrize(
    ("ours", "plain", "says"),
    [(80, 0, "NOT AT EQUAL ACCURACY: ours is WORSE, -20.0"), (0, 80, "ours is better, +20.0"), (4, 4, "no difference")],
)
def test_a_speedup_at_less_accuracy_is_called_so(ours, plain, says):
    found = {"ours": [run(10, ours)] * 2, "plain": [run(30, plain)] * 2, "fresh": [run(5)] * 2}
    assert says in verdict(summary(found, TRUTH))


def test_speedups_are_medians_of_ratios_within_each_round():
    found = {
        "ours": [run(10, start_s=5), run(20, start_s=4), run(10, start_s=5)],
        "plain": [run(30, cpu_s=4), run(80, cpu_s=2), run(35, cpu_s=3)],
        "fresh": [run(5), run(8), run(7)],
    }
    result = summary(found, TRUTH)
    assert result["two_phase_speedup"] == 3.5 and result["two_phase_cpu_ratio"] == 3
    assert result["two_phase_speedup_fresh"] == 6 and result["two_phase_speedup_epochs"] == 6
    assert result["two_phase_wall_s"] == {"ours": 10, "plain": 35, "fresh": 7}


def test_two_workers_are_told_against_one():
    told = workers_ratio([Speed(90, 0.02), Speed(60, 0.03)], [Speed(100, 0.02), Speed(100, 0.02)])
    assert told["images_per_s"] == 0.75 and told["images_per_s_one"] == 100 and told["images_per_s_two"] == 75
    assert told["cpu_s_per_image"] == 1.25


def test_cpu_time_of_a_grandchild_counts_once():
    spin = "import time\nend = time.process_time() + 0.8\nwhile time.process_time() < end: pass"
    with RayCpu() as cpu:
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert 0.5 < cpu.seconds < 1.6


def test_the_plain_run_trains_from_the_backbone_it_is_given(tmp_path, monkeypatch):
    # Loader workers are forks, and by now this process may hold threads of any library. It ended here once, nobody knows why.
    monkeypatch.setattr(plain_two_phase, "LOADER_WORKERS", 0)
    backbone, rng = tmp_path / "backbone.safetensors", np.random.default_rng(0)
    whole = models.resnet18().state_dict()
    save_file({name: value for name, value in whole.items() if not name.startswith("fc.")}, str(backbone))
    config = two_phase_system(backbone, 4, (1, 1), 112)
    config = config.model_copy(update={"input": config.input.model_copy(update={"side_px": 32, "resize_px": 36})})
    paths = [tmp_path / f"{number}.jpg" for number in range(8)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    files = Files(paths, np.arange(8) % 2)
    model = train_plainly({"train": files, "val": files}, config, backbone, tmp_path / "best.pt")
    assert torch.equal(model.state_dict()["layer3.0.bn1.running_mean"], whole["layer3.0.bn1.running_mean"])
    assert not torch.equal(model.fc.weight, start(backbone, 2).fc.weight)
    assert judged(model, files, config).shape == (8,)


def test_weights_of_another_network_start_nothing(tmp_path):
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, str(tmp_path / "odd.safetensors"))
    with pytest.raises(UserError, match="no ResNet-18"):
        start(tmp_path / "odd.safetensors", 2)
