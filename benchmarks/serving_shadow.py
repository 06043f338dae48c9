"""What a challenger in shadow costs the clients of the champion: the same load, with and without, A B A B.

`python -m benchmarks.serving_shadow --arch resnet18 --work FOLDER`; wants the machine to itself for five minutes, the package's
making included. Last line is JSON: ratios of shadow to single. The challenger is the champion's network under another hash, so
it costs as much as the champion.
"""

import json
import shutil
import tempfile
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.load import Load, closed_loop, open_loop, post
from benchmarks.servers import free_port, ours
from benchmarks.serving_package import bench_state, draw_images
from vision.failures import read_failures
from vision.package import seal_package
from vision.records_read import read_records
from vision.release import ReleasedModel, read_release, write_release

WORKERS, ROUNDS, SECONDS, SETTLE_S = 2, 4, 6.0, 4.0
MODERATE = 0.5
"""Part of the requests that the server could answer."""
CLIENTS = 8
MODES = ("single", "shadow")


def twin(system: Path) -> ReleasedModel:
    """The champion's package with another note in it."""
    champion = read_release(system / "release.json").champion
    folder = system / "packages" / "twin"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(system / champion.uri, folder)
    (folder / "metrics.json").write_text('{"note": "twin"}')
    sha = seal_package(folder)
    shutil.rmtree(folder.with_name(sha), ignore_errors=True)
    folder.rename(folder.with_name(sha))
    return ReleasedModel(version=2, package_sha=sha, uri=f"packages/{sha}")


def release(system: Path, mode: str, challenger: ReleasedModel) -> None:
    path = system / "release.json"
    now = read_release(path)
    beside = challenger if mode == "shadow" else None
    changes = {"no": now.no + 1, "mode": mode, "challenger": beside, "at": datetime.now(UTC)}
    write_release(path, now.model_copy(update=changes))
    time.sleep(SETTLE_S)


def measured(port: int, system: Path, challenger: ReleasedModel, requests: list[bytes]) -> dict[str, list[Load]]:
    """Loads by mode, in turn: a moderate one and a full one each time."""
    rate = MODERATE * closed_loop(port, requests, CLIENTS, SECONDS).per_second
    print(f"moderate load: {rate:.0f} requests a second")
    found = {f"{mode} {load}": [] for mode in MODES for load in ("moderate", "full")}
    for _ in range(ROUNDS):
        for mode in MODES:
            release(system, mode, challenger)
            found[f"{mode} moderate"].append(open_loop(port, requests, rate, SECONDS))
            found[f"{mode} full"].append(closed_loop(port, requests, CLIENTS, SECONDS))
    return found


def ratios(found: dict[str, list[Load]]) -> dict[str, float]:
    """Median over the rounds of shadow to single."""

    def ratio(load: str, of) -> float:
        pairs = zip(found[f"shadow {load}"], found[f"single {load}"], strict=True)
        return round(median(of(shadow) / of(single) for shadow, single in pairs), 3)

    return {
        "moderate_p50": ratio("moderate", lambda load: load.percentile_ms(50)),
        "moderate_p95": ratio("moderate", lambda load: load.percentile_ms(95)),
        "moderate_throughput": ratio("moderate", lambda load: load.per_second),
        "full_p50": ratio("full", lambda load: load.percentile_ms(50)),
        "full_throughput": ratio("full", lambda load: load.per_second),
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=("resnet18", "mobilenet_v3_small"), default="resnet18")
    parser.add_argument("--work", type=Path, help="what it makes stays here (default: a folder of its own under /tmp)")
    asked = parser.parse_args()
    arch, root = asked.arch, asked.work or Path(tempfile.mkdtemp(prefix="shadow-"))
    images, labels = draw_images(48)
    bench_state(arch, root, images, labels)
    system = root / arch / "systems" / "quickstart"
    shutil.rmtree(system / "records", ignore_errors=True)
    port, requests = free_port(), [post("/predict", data) for data in images]
    env = {
        "VISIONOPS__SERVING__ACCESS__REQUESTS_PER_MINUTE": "1000000",
        "VISIONOPS__SERVING__RELEASE_POLL_S": "0.2",
        "BENTOML_HOME": str(root / "bentoml"),
    }
    with ours(port, WORKERS, root / arch, root / "serve.log", requests[0], env):
        found = measured(port, system, twin(system), requests)
    records, _ = read_records(system / "records")
    for name, loads in found.items():
        said = [
            f"{load.percentile_ms(50):.1f}/{load.percentile_ms(95):.1f} ms, {load.per_second:.0f}/s" for load in loads
        ]
        print(f"{name}: p50/p95 {'; '.join(said)}")
    wrong = sum(
        count for loads in found.values() for load in loads for status, count in load.statuses.items() if status != 200
    )
    told = {
        "not_200": wrong,
        "lost": sum(load.lost for loads in found.values() for load in loads),
        "pairs": int((records["route"] == "shadow").sum()),
        "answers_in_shadow": sum(
            load.statuses.get(200, 0) for name in found if "shadow" in name for load in found[name]
        ),
        "failures": len(read_failures(system / "failures")),
    }
    print(json.dumps({**ratios(found), **told}))


if __name__ == "__main__":
    main()
