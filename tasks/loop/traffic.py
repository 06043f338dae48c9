"""Clients of a service, drawn: pictures that nobody saw before, sent over HTTP, and labels that come later as feedback."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from vision.data.config import DrawnSource
from vision.data.synthetic.dataset import draw_picture, drawn_boxes, image_seed, labels_of
from vision.data.synthetic.scene import encode, jpeg_quality

TIMEOUT_S = 30
SENDERS = 3
"""Requests of a burst that are under way at a time."""
HOUR_S = 3600


@dataclass(frozen=True)
class Sent:
    """One request and its answer. at_s: time.monotonic(). status 0: no answer came. label: what a person would call the image who
    sees the answer."""

    at_s: float
    scene: str
    label: str
    status: int
    answer: str | None = None
    version: int | None = None
    prediction_id: str | None = None

    @property
    def right(self) -> bool:
        return self.answer == self.label


class Traffic:
    """Sends drawn pictures of `scene` to one service. Every picture is drawn once. `sent`: all of it, in order of answers."""

    def __init__(self, url: str, clients: Sequence[str], source: DrawnSource, seed: int) -> None:
        """clients: bearer tokens; each request comes from the next one. seed: another than the training data's."""
        self._url, self._source, self._seed = url, source, seed
        self._clients, self._numbers = itertools.cycle(clients), itertools.count()
        self.scene: str = source.scene
        self.labelled = False
        """True: each answer is followed by the true label as feedback, and the image is kept."""
        self.sent: list[Sent] = []

    def burst(self, count: int) -> list[Sent]:
        """Sends so many, several at a time, and returns what came back."""
        with (
            httpx.Client(base_url=self._url, timeout=TIMEOUT_S, trust_env=False) as client,
            ThreadPoolExecutor(SENDERS, thread_name_prefix="client") as pool,
        ):
            return list(pool.map(lambda _: self._ask(client), range(count)))

    @contextlib.contextmanager
    def trickle(self, per_s: float) -> Iterator[None]:
        """Goes on sending one after the other until the block ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._drip, args=(1 / per_s, ended), name="trickle", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(TIMEOUT_S + 1 / per_s)

    def _drip(self, pause_s: float, ended: threading.Event) -> None:
        with httpx.Client(base_url=self._url, timeout=TIMEOUT_S, trust_env=False) as client:
            while not ended.wait(pause_s):
                self._ask(client)

    def _ask(self, client: httpx.Client) -> Sent:
        number, scene, labelled = next(self._numbers), self.scene, self.labelled
        labels = labels_of(self._source)
        picture = draw(
            self._source, scene, label := labels[number % len(labels)], image_seed(self._seed, label, number)
        )
        headers = {"Authorization": f"Bearer {next(self._clients)}"}
        at_s = time.monotonic()
        try:
            query = {"keep": "true"} if labelled else {}
            files = {"file": (f"{number}.jpg", picture.data, "image/jpeg")}
            response = client.post("/predict", params=query, files=files, headers=headers)
            sent = _sent(response, at_s, scene, picture)
            if labelled and sent.prediction_id:
                said = {"id": sent.prediction_id, "label": sent.label, "boxes": picture.boxes}
                client.post("/feedback", json=said, headers=headers).raise_for_status()
        except httpx.HTTPError:
            sent = Sent(at_s, scene, picture.label, status=0)
        self.sent.append(sent)
        return sent


@dataclass(frozen=True)
class Picture:
    """data: a JPEG as its scene's camera stores it. label: what was drawn. boxes: of all that is wrong with it, as feedback names them;
    None for what is labelled as a whole."""

    data: bytes
    label: str
    boxes: list[dict[str, Any]] | None

    def called(self, answer: str) -> str:
        """By a person who sees the answer: what is there beside the label is not wrong."""
        return answer if answer in {box["label"] for box in self.boxes or ()} else self.label


def draw(source: DrawnSource, scene: str, label: str, seed: int) -> Picture:
    picture, mask = draw_picture(source, label, seed, scene)
    boxes = drawn_boxes(source, mask)
    said = None if boxes is None else [{"label": box.label, "box": list(box[1:])} for box in boxes]
    return Picture(encode(picture, jpeg_quality(seed, scene)), label, said)


def _sent(response: httpx.Response, at_s: float, scene: str, picture: Picture) -> Sent:
    if response.status_code != 200:
        return Sent(at_s, scene, picture.label, response.status_code)
    answer = response.json()
    label, version = answer["label"], answer["model"]["version"]
    return Sent(at_s, scene, picture.called(label), 200, label, version, answer["prediction_id"])


def client_tokens(secret_file: Path, count: int) -> list[str]:
    """Tokens of so many clients, good for some hours, signed with the secret in `secret_file` (made when it isn't there)."""
    import secrets

    import jwt

    if not secret_file.is_file():
        secret_file.parent.mkdir(parents=True, exist_ok=True)
        secret_file.touch(0o600)
        secret_file.write_text(secrets.token_hex(32))
    secret, until = secret_file.read_bytes().strip(), int(time.time()) + 12 * HOUR_S
    claims = (
        {"sub": f"client-{number:02d}", "exp": until, "scope": "predict feedback keep"} for number in range(count)
    )
    return [jwt.encode(claim, secret, algorithm="HS256") for claim in claims]
