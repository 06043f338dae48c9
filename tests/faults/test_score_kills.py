"""`score_batch` killed in the middle and asked again: each image is answered once, and nothing finished is done again."""

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from flows.command import DONE, MISTAKE, main
from flows.score_batch import options, score_batch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray", "shared_state")]
ROOT = Path(__file__).resolve().parents[2]
IMAGES, DISTINCT, WAIT_S = 4000, 9, 120


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The tiny package of the serving tests, and what draws its images."""
    own = importlib.import_module("tests.serving.conftest")
    return own.make_package(tmp_path_factory.mktemp("made")), own.draw


@pytest.fixture(scope="module")
def photos(made, tmp_path_factory):
    """Many names of a few images, and two files that are none."""
    package, draw = made
    folder = tmp_path_factory.mktemp("photos")
    labels = package.package.spec.labels
    for number in range(IMAGES - 2):
        path = folder / f"{number:05d}.jpg"
        if number < DISTINCT:
            path.write_bytes(draw(labels[number % 3], number))
        else:
            path.hardlink_to(folder / f"{number % DISTINCT:05d}.jpg")
    (folder / "torn.jpg").write_bytes((folder / "00000.jpg").read_bytes()[:300])
    (folder / "void.png").write_bytes(b"")
    return folder


def answers(to):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (to / "scores").glob("0*.parquet")}


def killed_run(arguments, state, ray, to):
    """The command in a process of its own, killed when the first chunks are there. Returns those."""
    from prefect.settings import PREFECT_API_URL

    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("VISIONOPS", "RAY_", "PREFECT_"))
    }
    shared = {
        "VISIONOPS_STATE": str(state),
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_AUTH_MODE": "token",
        "PREFECT_API_URL": PREFECT_API_URL.value(),
    }
    log = to.with_suffix(".log")
    with log.open("wb") as output:
        command = [sys.executable, "-m", "flows.score_batch", *arguments]
        flow = subprocess.Popen(command, cwd=ROOT, env=clean | shared, stdout=output, stderr=output)
        end = time.monotonic() + WAIT_S
        while len(answers(to)) < 2 and flow.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        flow.send_signal(signal.SIGKILL)
        assert flow.wait() == -signal.SIGKILL, log.read_text()[-3000:]
    return answers(to)


def test_a_killed_run_goes_on_and_answers_each_image_once(
    made, photos, tiny, shared_state, ray, tmp_path, fault, capfd
):
    to, system = tmp_path / "answers", tiny()
    arguments = ["--system", system, "--from", str(photos), "--to", str(to), "--package", str(made[0].package.folder)]
    before = killed_run(arguments, shared_state, ray, to)
    assert 2 <= len(before) < IMAGES / 256
    capfd.readouterr()
    assert main(score_batch, options, argv=arguments) == DONE
    told = capfd.readouterr().out
    assert before.items() <= answers(to).items(), "a finished chunk was written again"
    rows = pd.concat([pd.read_parquet(path) for path in sorted((to / "scores").glob("*.parquet"))])
    assert sorted(rows["path"]) == sorted(str(path) for path in photos.iterdir())
    assert {Path(path).name for path in rows.loc[rows["error"].notna(), "path"]} == {"torn.jpg", "void.png"}
    assert set(rows["package_sha"]) == {made[0].package.package_sha}
    assert not list((to / "scores").glob(".*"))
    summary = json.loads((to / "summary.json").read_text())
    assert summary["resumed"] and summary["images"] == IMAGES and summary["unreadable"] == 2
    assert f"{IMAGES:,} images scored" in told and "unreadable" in told
    assert_scored_already(arguments, to, capfd)
    assert_refused(arguments, photos, to, capfd, fault)
    fault.saw(
        "Kills", "SIGKILL of `make score` between its chunks", exit="–",
        says="nothing; the same command goes on with the chunks that are missing",
        kept="finished chunks as they were; each image answered once, unreadable ones as rows with their error",
    )  # fmt: skip


def assert_scored_already(arguments, to, capfd):
    before = answers(to)
    assert main(score_batch, options, argv=arguments) == DONE
    assert answers(to) == before and "nothing was left to score" in capfd.readouterr().out


def assert_refused(arguments, photos, to, capfd, fault):
    """Fewer images into the same folder."""
    before = answers(to)
    pd.DataFrame({"path": [str(photos / "00001.jpg")]}).to_csv(to.parent / "few.csv", index=False)
    capfd.readouterr()
    assert main(score_batch, options, argv=[*arguments, "--from", str(to.parent / "few.csv")]) == MISTAKE
    message = capfd.readouterr().err.partition("error: ")[2].strip()
    assert "holds the answers of another batch" in message and answers(to) == before
    fault.saw(
        "Images", "another list of images into a folder of answers", exit=MISTAKE, says=message,
        kept="the answers that are there", also=(str(to.parent), str(photos)),
    )  # fmt: skip
