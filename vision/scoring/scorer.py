"""From names of image files to rows of answers, at the engine's speed: files are read ahead while the engine works."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa

from vision.errors import UserError
from vision.export.golden import TOLERANCES, Run, check_golden
from vision.kinds import answering
from vision.package import INT8_MODEL, Package, precision_for
from vision.preprocess import ImageError, decode_opened, open_header, to_input, upright_size
from vision.scoring.inputs import Read

BATCH_IMAGES = 16
READERS = 4
KEPT_BYTES = 256 * 2**20
"""Of files that are held for measuring the limit."""
TEXT = pa.string()
SCHEMA = pa.schema(
    [
        *((name, TEXT) for name in ("path", "sha256", "package_sha", "precision", "answer_label")),
        ("confidence", pa.float64()),
        ("confident", pa.bool_()),
        ("answer", TEXT),
        ("error", TEXT),
    ]
)
"""answer: the whole answer as JSON, as the service gives it; null with an error."""
Item = tuple[str, bytes | None, str | None]
"""Full name, bytes, and why there are none."""


@dataclass(frozen=True)
class Scorer:
    """One process's engine. `precision`: auto, float32, bfloat16 or int8. threads: inference threads."""

    package: Package
    read: Read
    precision: str = "auto"
    threads: int = 1
    max_megapixels: float = 50.0

    @cached_property
    def engine(self) -> tuple[Run, str]:
        """The function and the precision it computes in, proved on the golden images. Raises `UserError` if it fails."""
        run, precision = _load(self.package, self.precision, self.threads)
        verdict = check_golden(self.package.folder, self.package.spec, run, TOLERANCES[precision])
        if not verdict.passed:
            raise UserError(
                f"package {self.package.package_sha[:12]} fails its golden images here: {'; '.join(verdict.reasons)}",
                "an engine that answers as the package's golden outputs do",
                "install the locked versions of Pillow and the engine, or set serving.precision: float32",
            )
        return run, precision

    def score(self, names: Sequence[str]) -> tuple[pa.Table, list[bytes]]:
        """One row a name, in order, and the bytes of the files that could be read (as many as may be kept)."""
        rows, kept, size = [], [], 0
        for batch in self._read_ahead(names):
            rows += self._answer(batch)
            for _, data, _ in batch:
                if data is not None and size + len(data) <= KEPT_BYTES:
                    kept.append(data)
                    size += len(data)
        return pa.Table.from_pylist(rows, schema=SCHEMA), kept

    def raw_seconds(self, files: Sequence[bytes]) -> float:
        """Seconds that decoding, preprocessing and the engine alone take for these files: the limit of any scoring."""
        run, spec = self.engine[0], self.package.spec.input
        start = time.perf_counter()
        for at in range(0, len(files), BATCH_IMAGES):
            inputs = [self._input(data, spec) for data in files[at : at + BATCH_IMAGES]]
            good = [image for image, _, _ in inputs if image is not None]
            if good:
                run(np.stack(good))
        return time.perf_counter() - start

    def _read_ahead(self, names: Sequence[str]) -> Iterator[list[Item]]:
        """Batches of files; the next one is being read while one is worked on."""
        batches = [names[at : at + BATCH_IMAGES] for at in range(0, len(names), BATCH_IMAGES)]
        with ThreadPoolExecutor(READERS) as pool:
            waiting = [pool.submit(self._fetch, name) for name in batches[0]] if batches else []
            for number in range(len(batches)):
                coming = [pool.submit(self._fetch, name) for name in (batches[number + 1 : number + 2] or [[]])[0]]
                yield [future.result() for future in waiting]
                waiting = coming

    def _fetch(self, name: str) -> Item:
        """A file that isn't there or can't be opened is a row with an error; a machine that fails ends the run."""
        try:
            return name, self.read(name), None
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            return name, None, f"unreadable: {error.strerror or type(error).__name__}"

    def _answer(self, batch: Sequence[Item]) -> list[dict[str, Any]]:
        (run, precision), spec = self.engine, self.package.spec
        inputs = [self._input(data, spec.input) if data is not None else (None, None, why) for _, data, why in batch]
        good = [position for position, (image, _, _) in enumerate(inputs) if image is not None]
        answers: dict[int, dict] = {}
        if good:
            kind, outputs = answering(spec.kind), run(np.stack([inputs[position][0] for position in good]))
            sizes = [inputs[position][1] for position in good]
            answers = dict(zip(good, kind.answers(outputs, spec, sizes, top_k=len(spec.labels)), strict=True))
        same = {"package_sha": self.package.package_sha, "precision": precision}
        return [
            same | _row(name, data, answers.get(position), inputs[position][2], spec.kind)
            for position, (name, data, _) in enumerate(batch)
        ]

    def _input(self, data: bytes, spec) -> tuple[np.ndarray | None, tuple[int, int] | None, str | None]:
        """(model's input, size of the upright image, None), or (None, None, what is wrong)."""
        try:
            header = open_header(data, self.max_megapixels)
            size_px = upright_size(header)
            return to_input(decode_opened(header, spec.draft_px), spec), size_px, None
        except ImageError as error:
            return None, None, str(error)


def _row(name: str, data: bytes | None, answer: dict | None, error: str | None, kind: str) -> dict[str, Any]:
    row = {"path": name, "sha256": hashlib.sha256(data).hexdigest() if data is not None else None, "error": error}
    if answer is None:
        return row
    summary = answering(kind).summary(answer)
    return row | {
        "answer_label": summary.get("label"),
        "confidence": summary.get("confidence"),
        "confident": summary.get("confident"),
        "answer": json.dumps(answer),
    }


def _load(package: Package, precision: str, threads: int) -> tuple[Run, str]:
    """OpenVINO where it is installed, else ONNX Runtime: as a server on a CPU chooses."""
    precision = precision_for(package, precision)
    path = package.folder / (INT8_MODEL if precision == "int8" else "model.onnx")
    if find_spec("openvino") is not None:
        from vision.export.runtime_openvino import openvino_run

        return openvino_run(path, precision, threads)
    if precision == "bfloat16":
        raise UserError(
            "serving.precision = bfloat16 without OpenVINO", "auto, float32 or int8", "install the extra `serve`"
        )
    from vision.export.runtime import onnx_run

    return onnx_run(path, threads), "int8" if precision == "int8" else "float32"
