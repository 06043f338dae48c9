"""Labels that people gave to served images, taken in beside the source of the data."""

import json

from configs.paths import StatePaths
from tasks.run import Run
from vision.data.labels.intake import Labelled, LabelPlaces, take_in
from vision.kinds import answering
from vision.package import Spec
from vision.release import package_folder, read_release


def collect_labels(run: Run) -> Labelled:
    """Brings the system's store of labelled images up to its feedback. Harmless to repeat, and when it is killed."""
    return take_in(label_places(run.state, run.config.system), known_labels(run), run.config.serving.max_megapixels)


def label_places(paths: StatePaths, system: str) -> LabelPlaces:
    return LabelPlaces(paths.feedback(system), paths.inbox(system), paths.queue(system), paths.labelled(system))


def known_labels(run: Run) -> tuple[str, ...]:
    """What an image may be called."""
    return answering(run.config.kind).vocabulary(model_labels(run))


def model_labels(run: Run) -> tuple[str, ...]:
    """`data.classes`, else the labels of the last data version, else the champion's."""
    if run.config.data.classes is not None and run.config.data.label_by == "class":
        return run.config.data.classes
    if (last := run.folder / "dataset.json").is_file():
        return tuple(json.loads(last.read_text())["labels"])
    release = read_release(run.release_file)
    spec = package_folder(run.release_file, release.champion) / "spec.json" if release else None
    return Spec.model_validate_json(spec.read_text()).labels if spec and spec.is_file() else ()


def told_labels(found: Labelled) -> str:
    """What was taken in, in one line; nothing where there is nothing."""
    if not (found.images or found.refused):
        return ""
    parts = [f"{found.images} images labelled since" + (f", {found.new} of them new" if found.new else "")]
    parts += [f"{found.moved} with a changed label"] if found.moved else []
    parts += [f"{found.conflicts} labelled in two ways (the last word counts)"] if found.conflicts else []
    parts += [f"{count} refused: {reason}" for reason, count in found.refused.items()]
    return "labels: " + "; ".join(parts)
