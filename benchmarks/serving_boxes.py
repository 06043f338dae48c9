"""Serving a detector, ours beside a plain torchvision handler, as ratios: interleaved rounds, medians. The last line is JSON.

Both run SSDLite320-MobileNetV3-Large at 320 px in float32 with a worker for each core. The plain handler is torchvision's own
model, eager, one image at a time, as its documentation shows it; ours has a key, a rate limit, records and metrics on. Weights
are random, with a background that wins everywhere: no box is drawn by either, so the network and what is around it is measured.
"""

import argparse
import contextlib
import json
import os
import statistics
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.load import closed_loop, multipart
from benchmarks.servers import Served, free_port, ours, peer, stop_servers_on_term
from benchmarks.serving_access import make_key
from benchmarks.serving_package import draw_images, photos, release_package, runner
from benchmarks.serving_peers import favour_background
from benchmarks.serving_raw import RawLimit
from benchmarks.size import about_machine
from configs.load import load_system, settings
from vision.export.assemble import PackageParts, assemble_package
from vision.export.golden import write_golden
from vision.export.onnx import export_onnx
from vision.kinds import answering
from vision.package import InputSpec, Package, Spec, open_package

ARCH, KIND, LABELS = "ssdlite320_mobilenet_v3_large", "detect", ("dent", "pit", "scratch")
PRECISION = "float32"
INPUT = InputSpec(side_px=320, resize_px=320, crop="squash")
DRAWN, CLIENTS, SEED = 24, 32, 5
SIZES = ("256px", "1080p")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", nargs="*", choices=SIZES, default=SIZES)
    parser.add_argument("--work", type=Path, default=settings().state / "bench", help="where the package is kept")
    asked = parser.parse_args()
    stop_servers_on_term()
    found = {size: measured(asked.work.absolute() / "boxes", size, asked.rounds, asked.seconds) for size in asked.only}
    print(json.dumps(found | about_machine()))


def measured(work: Path, size: str, rounds: int, seconds: float) -> dict[str, float]:
    """Medians over the rounds: images a second, CPU an image, and ours by theirs."""
    drawn, _ = draw_images(DRAWN)
    bodies, state = drawn if size == "256px" else photos(drawn), work / "state"
    package, cores = box_package(state, drawn), len(os.sched_getaffinity(0))
    forms = [multipart("/predict", body, "file", [make_key(state)]) for body in bodies]
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(RawLimit(package, bodies, cores, PRECISION))
        servers = {
            "ours": stack.enter_context(
                ours(
                    free_port(), cores, state, work / "ours.log", forms[0], {"VISIONOPS__SERVING__PRECISION": PRECISION}
                )
            ),
            "plain": stack.enter_context(
                peer("plain_boxes", free_port(), cores, package.folder, work / "plain.log", forms[0])
            ),
        }
        for server in servers.values():
            closed_loop(server.port, forms, CLIENTS, 1.0)
        rows = [one_round(raw, servers, forms, seconds) for _ in range(rounds)]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    print(f"{size}: " + ", ".join(f"{name} {value:.3g}" for name, value in medians.items()), flush=True)
    return medians


def one_round(raw: RawLimit, servers: dict[str, Served], forms: list[bytes], seconds: float) -> dict[str, float]:
    limit = raw.measure(seconds)
    row = {"raw_per_s": limit.per_second, "raw_cpu_ms": limit.cpu_ms}
    for name, server in servers.items():
        before_s = server.cpu_s()
        load = closed_loop(server.port, forms, CLIENTS, seconds)
        refused = sum(count for status, count in load.statuses.items() if status != 200)
        row |= {
            f"{name}_per_s": load.per_second,
            f"{name}_cpu_ms": 1e3 * (server.cpu_s() - before_s) / max(1, load.statuses[200]),
            f"{name}_p50_ms": load.percentile_ms(50),
            f"{name}_refused": float(refused),
        }
    return row | {
        "raw_share": row["ours_per_s"] / limit.per_second,
        "speed_vs_plain": row["ours_per_s"] / row["plain_per_s"],
        "cpu_vs_plain": row["plain_cpu_ms"] / row["ours_cpu_ms"],
    }


def box_package(state: Path, images: list[bytes]) -> Package:
    """A detector with random weights, released in `state` as the champion of system quickstart."""
    import torch

    from vision.kinds import learning
    from vision.models.config import ModelConfig
    from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, save_model

    folder, system = state.parent / "parts", state / "systems" / "quickstart"
    folder.mkdir(parents=True, exist_ok=True)
    outputs = answering(KIND).outputs
    network = learning(KIND).network(ModelConfig(arch=ARCH), LABELS, SEED, INPUT.side_px)
    favour_background(network.head.predictions.classification_head, len(LABELS) + 1)
    torch.manual_seed(SEED)  # the embedding's projection
    model = ServedModel(network, outputs, IMAGENET_MEAN, IMAGENET_STD).eval()
    spec = Spec(kind=KIND, arch=ARCH, labels=LABELS, input=INPUT, outputs=outputs)
    save_model(model, folder / "model.safetensors")
    export_onnx(model, INPUT.side_px, outputs, folder / "model.onnx")
    pd.DataFrame({"brightness": np.array([0.4, 0.6])}).to_parquet(folder / "reference.parquet")
    parts = PackageParts(
        spec=spec,
        config=load_system("quickstart").model_dump(mode="json") | {"kind": KIND},
        metrics={},
        lineage={"data": "benchmark"},
        files={name: folder / name for name in ("model.safetensors", "model.onnx", "reference.parquet")},
        golden=fresh_golden(folder, images[:8], spec, model),
    )
    package_sha = assemble_package(system / "packages", parts)
    release_package(system / "release.json", package_sha, f"packages/{package_sha}")
    return open_package(system / "packages" / package_sha, package_sha)


def fresh_golden(folder: Path, images: list[bytes], spec: Spec, model) -> Path:
    import shutil

    shutil.rmtree(folder / "golden", ignore_errors=True)  # a broken run's
    write_golden(folder, images, spec, runner(model))
    return folder / "golden"


if __name__ == "__main__":
    main()
