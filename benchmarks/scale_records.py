"""Records for `benchmarks.scale_measure`: answers of drawn leaves through the service's own code, from an engine's outputs to the line."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from bentos.answers import answer_of
from bentos.hooks import Asked, Client
from vision.data.features import FEATURES, measure_image
from vision.kinds import answering
from vision.package import InputSpec, Spec
from vision.records import record_line
from vision.records_log import LineLog

SYSTEM = "quickstart"
IMAGES = 48


def lines(described: bool) -> list[bytes]:
    """Of drawn leaves, each a line; `write` gives them other ids, numbers and embeddings."""
    from PIL import Image

    from vision.data.synthetic.leaves import CLASSES, draw_leaf
    from vision.data.synthetic.scene import encode

    rng, made = np.random.default_rng(0), []
    for number in range(IMAGES):
        picture, _ = draw_leaf(CLASSES[number % len(CLASSES)], number, 256)
        data = encode(picture, 90)
        features = measure_image(Image.fromarray(picture), data) if described else dict.fromkeys(FEATURES, np.nan)
        made.append(line(features, rng, CLASSES))
    return made


def line(features: dict[str, float], rng: np.random.Generator, labels: tuple[str, ...]) -> bytes:
    kind = answering("classify")
    spec = Spec(
        schema=1,
        kind="classify",
        arch="resnet18",
        labels=labels,
        input=InputSpec(side_px=112, resize_px=128),
        outputs=kind.outputs,
    )
    outputs = {"logits": 3 * rng.standard_normal(len(labels)), "embedding": rng.standard_normal(32).astype("f4")}
    info = {"system": SYSTEM, "version": 12, "package_sha": "0123456789abcdef" * 4, "arch": "resnet18"}
    lane = SimpleNamespace(
        kind=kind, info=info, route="champion", served=SimpleNamespace(release=SimpleNamespace(no=12)), card=lambda label: None,
        engine=SimpleNamespace(name="openvino", precision="bfloat16"),
        answer=lambda found, size, top_k: kind.answers({k: v[None] for k, v in found.items()}, spec, [size], top_k or 3)[0],
    )  # fmt: skip
    batched = SimpleNamespace(outputs=outputs, batch_size=4, queue_ms=3.217, compute_ms=12.804)
    client = Client(key_id="0123456789abcdef", client_hash="0123456789abcdef", scopes=frozenset({"predict"}))
    decoded = SimpleNamespace(size_px=(256, 256), features=features)
    return record_line(answer_of(lane, decoded, batched, Asked(client=client))[1])


def write(folder: Path, kinds: tuple[list[bytes], ...], count: int) -> None:
    """`count` records as one worker's log: the lines in turns, each with an id, a time and numbers of its own."""
    from uuid6 import uuid7

    rng, log = np.random.default_rng(1), LineLog(folder)
    rows = [json.loads(text) for kind in zip(*kinds, strict=True) for text in kind]
    for number in range(count):
        row = dict(rows[number % len(rows)])
        noise = 1 + 0.05 * rng.standard_normal(len(FEATURES))
        row["features"] = {
            name: np.nan if value is None else value * part
            for (name, value), part in zip(row["features"].items(), noise, strict=True)
        }
        row |= {"id": str(uuid7()), "embedding": rng.standard_normal(32), "confidence": float(rng.beta(9, 1))}
        row |= {"queue_ms": float(rng.exponential(3)), "compute_ms": float(rng.gamma(4, 3))}
        del row["schema"]
        log.append(record_line(row))
    log.close()
