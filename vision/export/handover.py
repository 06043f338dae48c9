"""A package as files for elsewhere: graphs, weights, labels and how to run them, each proved on the golden images."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vision.evaluation.latency import profile_latency, size_mib
from vision.export.golden import GOLDEN, TOLERANCES, Run, check_golden, golden_outputs
from vision.kinds import answering
from vision.package import INT8_MODEL, Package, Spec
from vision.settings import Section

WRITTEN = "export.json"
RUNS, WARM_UPS = 30, 3


class Proof(Section):
    """One file in one runtime. difference: of the golden outputs. latency_ms: one image, here, median. why: what was found."""

    name: str
    file: str
    runtime: str
    passed: bool
    size_mib: float | None = None
    difference: float | None = None
    same_answer: float | None = None
    latency_ms: float | None = None
    why: str = ""


def prove(package: Package, file: Path, run: Run, name: str, runtime: str, precision: str | None) -> Proof:
    """precision: whose tolerance the golden outputs are held to; None: the same answers are asked for, and no more."""
    inputs, kind = np.load(package.folder / GOLDEN / "inputs.npy"), answering(package.spec.kind)
    wanted, got = golden_outputs(package.folder), run(inputs)
    _, difference = kind.agree(got, wanted, 0.0)
    same = float(np.mean(kind.same_outputs(got, wanted)))
    if precision:
        verdict = check_golden(package.folder, package.spec, run, TOLERANCES[precision])
        passed, why = verdict.passed, "; ".join(verdict.reasons)
    else:
        passed, why = same == 1.0, f"{same:.0%} of {len(inputs)} golden images get the same answer"
    latency = profile_latency(run, inputs, RUNS, WARM_UPS)["latency_p50_ms"] if passed else None
    return Proof(
        name=name, file=file.name, runtime=runtime, passed=passed, size_mib=size_mib(file),
        difference=float(difference), same_answer=same, latency_ms=latency, why=why,
    )  # fmt: skip


def int8_refusal(package: Package, allowed: float) -> str | None:
    """Why the package has no INT8 graph that may be used; None where it has. allowed: the largest loss of recall."""
    spec = package.spec
    if spec.int8.passed and (package.folder / INT8_MODEL).is_file():
        return None
    if spec.int8.drop is None:
        return "none was made: export.int8 was off when it was trained"
    if spec.int8.drop > allowed:
        return f"it lost its gate: its worst class lost {spec.int8.drop:.3f} of its recall, {allowed:g} are allowed"
    return (
        f"it lost its gate: its outputs or their mean are too far off (its recall would do: {spec.int8.drop:.3f} lost)"
    )


def write_rest(package: Package, folder: Path, proofs: list[Proof], notes: Mapping[str, str]) -> None:
    """Weights, spec, labels, golden images, README and the table. notes: what was asked for and is not there, and why."""
    for name in ("model.safetensors", "spec.json", "model_card.md"):
        if (package.folder / name).is_file():
            shutil.copyfile(package.folder / name, folder / name)
    shutil.copytree(package.folder / GOLDEN, folder / GOLDEN, copy_function=shutil.copyfile, dirs_exist_ok=True)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in package.spec.labels))
    (folder / "README.md").write_text(readme(package, proofs, notes))
    table = {
        "package_sha": package.package_sha,
        "files": [proof.model_dump(mode="json") for proof in proofs],
        "left_out": dict(notes),
    }
    (folder / WRITTEN).write_text(json.dumps(table, indent=1))


def table_lines(proofs: list[Proof]) -> list[str]:
    """The table as Markdown."""
    lines = ["| file | runtime | MiB | differs by | same answer | one image | |", "|---|---|---|---|---|---|---|"]
    for one in proofs:
        latency = "–" if one.latency_ms is None else f"{one.latency_ms:.2f} ms"
        lines.append(
            f"| {one.file} | {one.runtime} | {one.size_mib:.1f} | {one.difference:.2g} | {one.same_answer:.0%} | {latency} | "
            f"{'agrees' if one.passed else 'DIFFERS'} |"
        )
    return lines


def readme(package: Package, proofs: list[Proof], notes: Mapping[str, str]) -> str:
    spec, table = package.spec, "\n".join(table_lines(proofs))
    left_out = "".join(f"\n- {name}: left out, {why}." for name, why in notes.items())
    tflite = TFLITE if any(one.file.endswith(".tflite") for one in proofs) else ""
    how, code = answering(spec.kind).reading(spec)
    return PAGE.format(
        arch=spec.arch,
        sha=package.package_sha,
        table=table,
        left_out=f"\n{left_out}\n" if left_out else "",
        side=spec.input.side_px,
        decoding=_decoding(spec),
        steps=_geometry(spec),
        load=_load(spec),
        outputs=", ".join(f"`{name}`" for name in spec.outputs),
        how=how,
        code=code,
        resize=_resize(spec),
        tflite=tflite,
    )


def _decoding(spec: Spec) -> str:
    draft = spec.input.draft_px
    return "" if draft is None else f"with a JPEG's sides halved while each keeps {draft} px, "


def _load(spec: Spec) -> str:
    draft = spec.input.draft_px
    if draft is None:
        return "image = photo"
    return (
        'opened = Image.open("photo.jpg")\n'
        f"opened.draft(None, ({draft}, {draft}))\n"
        'image = ImageOps.exif_transpose(opened).convert("RGB")'
    )


def _geometry(spec: Spec) -> str:
    if spec.input.crop == "squash":
        return f"resize to {spec.input.side_px} x {spec.input.side_px} px (bilinear, antialiased)"
    size = spec.input.resize_px
    return f"short side to {size} px (bilinear, antialiased), centre crop of {spec.input.side_px} x {spec.input.side_px} px"


def _resize(spec: Spec) -> str:
    if spec.input.crop == "squash":
        return f"image = image.resize(({spec.input.side_px}, {spec.input.side_px}), Image.Resampling.BILINEAR)"
    return (
        f"scale = {spec.input.resize_px} / min(image.size)\n"
        "image = image.resize([int(side * scale) for side in image.size], Image.Resampling.BILINEAR)\n"
        f"left, top = (round((side - {spec.input.side_px}) / 2) for side in image.size)\n"
        f"image = image.crop((left, top, left + {spec.input.side_px}, top + {spec.input.side_px}))"
    )


PAGE = """# {arch}, package {sha}

{table}

Differences are those of the golden images (`golden/`: files, the model's inputs, the trained network's outputs); latency is one
image with one thread or all that the runtime takes, on the machine that wrote this.{left_out}

Input: `images`, uint8 [N, {side}, {side}, 3], RGB. Decode, {decoding}turn by EXIF, {steps}. Normalisation is in the graph.
Outputs: {outputs}. {how} Check your own preprocessing with `golden/`: it must give `inputs.npy` of the files beside it, up to 1 of 255.

```python
import numpy as np, onnxruntime
from PIL import Image, ImageOps

photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
{load}
{resize}
session = onnxruntime.InferenceSession("model.onnx")  # or model.int8.onnx
{code}
```
{tflite}"""
TFLITE = """
TFLite (one image at a time; its embedding is not comparable with that of the other files):

```python
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("model.int8.tflite").get_signature_runner()
outputs = run(images=np.asarray(image)[None])  # by name, as those of model.onnx
```
"""
