"""Serving speed as ratios, interleaved in one run; medians over rounds. The last line is JSON. Writes docs/serving-speed.md
and .png. Each measured scene (a network with a kind of image) is kept, so that a broken run goes on.

Ours runs with a key, rate limit, metrics and records on. `benchmarks.serving_rounds` says what is measured.
"""

import argparse
import contextlib
import json
import os
from pathlib import Path

from benchmarks.load import multipart, post
from benchmarks.servers import free_port, ours, peer, stop_servers_on_term
from benchmarks.serving_access import make_key
from benchmarks.serving_package import bench_state, draw_images, photos, state_of
from benchmarks.serving_page import write_page
from benchmarks.serving_raw import RawLimit
from benchmarks.serving_rounds import Int8Scene, Scene, measure
from benchmarks.size import about_machine
from configs.load import settings
from vision.package import Package

DRAWN = 48
TRAINED_ON = 192
NETWORKS, KINDS = ("resnet18", "mobilenet_v3_small"), ("256px", "1080p")
IN_INT8 = ("resnet18",)
"""Mobile networks lose by it (STACK.md 12)."""
SCENES = tuple(f"{network} {kind}" for kind in KINDS for network in NETWORKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", nargs="*", choices=SCENES, help="scenes; default: all")
    parser.add_argument("--fresh", action="store_true", help="measure these scenes again")
    parser.add_argument(
        "--work", type=Path, default=settings().state / "bench", help="where packages and results are kept"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where serving-speed.md and .png go")
    asked = parser.parse_args()
    stop_servers_on_term()
    work = asked.work.absolute()
    scenes = asked.only or SCENES
    for name in scenes if asked.fresh else ():
        kept_file(work, name).unlink(missing_ok=True)
    for name in scenes:
        measured(work, name, asked)
        found = kept_results(work)
        write_page(found, asked.docs)
    print(json.dumps({name: one["medians"] for name, one in found.items()}))


def measured(work: Path, name: str, asked: argparse.Namespace) -> None:
    """Unless it was, and is kept."""
    kept = kept_file(work, name)
    if not kept.is_file():
        with scene(work, name, asked.seconds) as made:
            found = measure(made, asked.rounds) | about_machine()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, indent=1))


def kept_results(work: Path) -> dict[str, dict]:
    """Of every scene that has been measured."""
    files = {name: kept_file(work, name) for name in SCENES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def kept_file(work: Path, name: str) -> Path:
    return work / "results" / f"{name.replace(' ', '_')}.json"


@contextlib.contextmanager
def scene(work: Path, name: str, seconds: float):
    network, kind = name.split()
    images, labels = draw_images(TRAINED_ON)
    package, state = bench_state(network, work, images, labels), work / network
    bodies = images[:DRAWN] if kind == "256px" else photos(images[:DRAWN])
    cores, header = len(os.sched_getaffinity(0)), make_key(state)
    requests = [post("/predict", body, [header]) for body in bodies]
    forms = [multipart("/predict", body, "file", [header]) for body in bodies]
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        yield Scene(
            name=name,
            raw=enter(RawLimit(package, bodies, cores)),
            ours=enter(ours(free_port(), cores, state, state / "ours.log", requests[0])),
            plain=enter(peer("plain", free_port(), cores, package.folder, state / "plain.log", forms[0])),
            litserve=enter(peer("litserve", free_port(), cores, package.folder, state / "litserve.log", forms[0])),
            requests=requests,
            forms=forms,
            seconds=seconds,
            cores=cores,
            int8=int8_scene(stack, package, work, bodies) if network in IN_INT8 and package.spec.int8.passed else None,
        )


def int8_scene(stack: contextlib.ExitStack, package: Package, work: Path, bodies: list[bytes]) -> Int8Scene:
    """In a state folder of its own: a server that is stopped may hold a lock of another that shares its folder."""
    cores, state = len(os.sched_getaffinity(0)), state_of(package, work / f"{package.spec.arch}_int8")
    header = make_key(state)
    forms = [multipart("/predict", body, "file", [header]) for body in bodies]
    in_int8 = {"VISIONOPS__SERVING__PRECISION": "int8"}
    return Int8Scene(
        raw=stack.enter_context(RawLimit(package, bodies, cores, "int8")),
        ours=stack.enter_context(ours(free_port(), cores, state, state / "ours.log", forms[0], in_int8)),
        forms=forms,
    )


if __name__ == "__main__":
    main()
