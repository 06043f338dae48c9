import time

import numpy as np

from vision.evaluation.latency import profile_latency, size_mib, size_table


def test_latency_counts_the_runs_after_the_warm_up_only():
    sizes = []

    def run(images):
        sizes.append(len(images))
        time.sleep(0.3 if len(sizes) <= 3 else 0.001)

    found = profile_latency(run, np.zeros((5, 8, 8, 3), np.uint8), runs=10, warmup_runs=3)
    assert sizes.count(1) == 13
    assert {8, 32} <= set(sizes)
    assert 1 <= found["latency_p50_ms"] <= found["latency_p95_ms"] < 290
    assert found["latency_cpu_ms"] < found["latency_p50_ms"]  # it sleeps
    assert found["batch32_images_per_s"] == 1000 * 32 / found["batch32_p50_ms"]


def test_size_is_of_a_file_or_of_all_files_below_a_folder(tmp_path):
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "a.bin").write_bytes(bytes(2**19))
    (tmp_path / "model.onnx").write_bytes(bytes(2**20))
    assert size_mib(tmp_path / "model.onnx") == 1.0
    assert size_mib(tmp_path) == 1.5
    assert size_table(tmp_path)["file"].tolist() == ["model.onnx", "golden/a.bin"]
