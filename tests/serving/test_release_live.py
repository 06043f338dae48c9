"""Shadow, canary, promotion and rollback of a real server of two workers under load; and kill -9 in mid-canary."""

import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from bentos.releasing.router import image_name
from tests.serving.challenger_stage import SALT, another, records_of, released, write_next
from vision.failures import read_failures
from vision.records_read import lines, log_files
from vision.release import Release, read_release, sticky_below, sticky_number

pytestmark = pytest.mark.slow

SHARE, WITHIN_S = 0.5, 30


def in_canary(image: bytes) -> bool:
    return sticky_number(SALT, image_name(image)) < sticky_below(SHARE)


def images_of(draw, label: str) -> tuple[bytes, ...]:
    """Three that the canary answers, and three that it does not: nobody here has a key."""
    drawn = [draw(label, seed) for seed in range(60)]
    return tuple(
        [each for each in drawn if in_canary(each) is wanted][at] for wanted in (True, False) for at in range(3)
    )


class Clients:
    """One for each image, asking without a pause until the block ends. got: prediction id -> (image, answer)."""

    def __init__(self, url: str, images: tuple[bytes, ...]) -> None:
        self._url, self._stop = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(image,)) for image in images]
        self.wrong, self.got = [], {}

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, image: bytes) -> None:
        # A connection for each request: so both workers meet every client.
        transport = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        with httpx.Client(base_url=self._url, timeout=30, transport=transport) as client:
            while not self._stop.is_set():
                try:
                    response = client.post("/predict", content=image, headers={"content-type": "image/jpeg"})
                    if response.status_code == 200:
                        self.got[response.json()["prediction_id"]] = (image, response.json())
                    else:
                        self.wrong.append(response.text)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                time.sleep(0.005)


def followed(system: Path, release: Release, pids: set[str]) -> None:
    """Until the last answer of each of these workers is of this release."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        last = {
            file.name.split("-")[-2]: [row for row, _ in lines(file.growing.read_bytes()) if row][-1]["release_no"]
            for file in log_files(system / "records")
            if file.name.split("-")[-2] in pids
        }
        if len(last) == len(pids) and set(last.values()) == {release.no}:
            return
        time.sleep(0.1)
    raise AssertionError(f"release {release.no} is not followed after {WITHIN_S} s: {last}")


def workers(live) -> set[str]:
    children = Path(f"/proc/{live.pid}/task/{live.pid}/children").read_text().split()
    return {pid for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.fixture
def challenger(live, made):
    """The champion answers alone again after the test."""
    champion = read_release(live.system / "release.json").champion
    yield released(40, another(made, live.system, "live"))
    write_next(live.system, "single", champion=champion)


def test_releases_flip_under_load_and_each_answer_is_of_the_right_model(live, challenger, made, draw):
    champion, pids = read_release(live.system / "release.json").champion, workers(live)
    steps = (
        ("shadow", 0.0, {"challenger": challenger}),
        ("canary", SHARE, {"challenger": challenger}),
        ("single", 0.0, {"champion": challenger}),
        ("single", 0.0, {"champion": champion}),
    )
    releases = {}
    with Clients(live.url, images_of(draw, "moss")) as clients:
        for mode, share, models in steps:
            release = write_next(live.system, mode, share, **models)
            releases[release.no] = release
            followed(live.system, release, pids)
            time.sleep(0.5)
    assert clients.wrong == []
    assert {answer["label"] for _, answer in clients.got.values()} == {"moss"}
    records = {row["id"]: row for row in records_of(live.system) if row["release_no"] in releases}
    check_routes(clients, records, releases)
    shadows = [row for row in records.values() if row["route"] == "shadow"]
    assert shadows
    for row in shadows:
        assert row["id"] not in clients.got
        assert records[row["pair_id"]]["route"] == "champion"
        assert row["package_sha"] == challenger.package_sha
    assert read_failures(live.system / "failures") == []
    assert workers(live) == pids


def check_routes(clients: Clients, records: dict, releases: dict[int, Release]) -> None:
    """Nobody flips within a release, and every record names the package of its release and route."""
    seen = set()
    for prediction_id, (image, answer) in clients.got.items():
        record = records.get(prediction_id)
        if record is None:  # Before the first of these releases.
            continue
        release = releases[record["release_no"]]
        mine = release.mode == "canary" and in_canary(image)
        assert record["route"] == ("canary" if mine else "champion")
        model = release.challenger if mine else release.champion
        assert record["package_sha"] == answer["model"]["package_sha"] == model.package_sha
        seen.add((release.mode, record["route"]))
    assert seen == {("single", "champion"), ("shadow", "champion"), ("canary", "champion"), ("canary", "canary")}


def test_a_worker_killed_in_mid_canary_loses_no_record_and_its_clients_stay(live, challenger, made, draw):
    pids = workers(live)
    images = images_of(draw, "slate")
    with Clients(live.url, images) as clients:
        release = write_next(live.system, "canary", SHARE, challenger=challenger)
        followed(live.system, release, pids)
        os.kill(int(killed := min(pids)), signal.SIGKILL)
        deadline = time.monotonic() + WITHIN_S
        while len(workers(live) - {killed}) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        followed(live.system, release, workers(live))
        time.sleep(0.5)
    records = {row["id"]: row for row in records_of(live.system)}
    assert set(clients.got) <= set(records)
    answered = [(records[made_id], image) for made_id, (image, _) in clients.got.items()]
    ours = sorted(((row["at"], image, row["route"]) for row, image in answered if row["release_no"] == release.no))
    for image in images:
        routes = [route for _, of, route in ours if of == image]
        assert routes and all(before == after for before, after in pairwise(routes))
    assert {route for _, _, route in ours} == {"champion", "canary"}
