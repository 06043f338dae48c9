"""Where a backbone's first weights come from, and the checks on the way. Never a pickle."""

import logging
import re
from pathlib import Path
from typing import Literal

import torch
import torchvision
from torch import Tensor, nn

from vision.errors import UserError
from vision.models.config import PRETRAINED, ModelConfig, PretrainedBy
from vision.models.factory import ARCHITECTURES
from vision.package import sha256_file
from vision.settings import Section

logger = logging.getLogger(__name__)
CLASSIFIER_KEYS = re.compile(r"^(fc|classifier|head)\.")
DOWNLOAD_TIMEOUT_S = 30


class WeightsReport(Section):
    """What a training started from; lineage keeps it. `warning` is empty, or says what the user should know."""

    origin: Literal["imagenet", PretrainedBy, "system", "file", "champion", "random"]
    file: str | None = None
    """Its name; where it lay is no matter of a package that goes to other machines. `sha256` says which one it was."""
    sha256: str | None = None
    package_sha: str | None = None
    """Of the champion, its own or another system's, that a training went on from."""
    warning: str = ""


def load_start(
    backbone: nn.Module, config: ModelConfig, root: Path | None, pretrained: Path | None = None
) -> WeightsReport:
    """Fills `backbone` with the weights that `config` asks for and says what they are.

    root: folder with weights under torchvision's file names. pretrained: the file that a pre-training stage made, or a package's.
    When ImageNet's weights can be had neither there nor by download, the random ones stay and a warning says so.
    Raises `UserError` for a file that is missing, damaged or of another network.
    """
    path, warning = find_start(config, root, pretrained)
    if path is None:
        if warning:
            logger.warning("%s", warning)
        return WeightsReport(origin="random", warning=warning)
    left_out = _fill(backbone, read_tensors(path), path, config)
    warning = f"not in {path.name} in this shape, so random: {', '.join(left_out)}" if left_out else ""
    package_sha = path.parent.name if config.weights == "system" else None
    return WeightsReport(
        origin=config.weights, file=path.name, sha256=sha256_file(path), package_sha=package_sha, warning=warning
    )


def load_champion(network: nn.Module, config: ModelConfig, path: Path, same_labels: bool) -> WeightsReport:
    """Fills `network` (backbone, and head where there is one) from `path`, a package's model.safetensors; the head only with
    the same labels.

    Raises `UserError` for a file of another network.
    """
    tensors = read_tensors(path)
    _fill(network.backbone, tensors, path, config)
    if same_labels and hasattr(network, "head"):
        prefix = "network.head."
        head = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        network.head.load_state_dict(head)
    warning = "" if same_labels else "other labels than the champion's: its backbone is kept, the head starts anew"
    return WeightsReport(
        origin="champion", file=path.name, sha256=sha256_file(path), package_sha=path.parent.name, warning=warning
    )


def find_start(config: ModelConfig, root: Path | None, pretrained: Path | None = None) -> tuple[Path | None, str]:
    """The file that `load_start` would read; (None, why) when it would start from random weights. Same errors."""
    if config.weights == "imagenet":
        return imagenet_file(ARCHITECTURES[config.arch].of or config.arch, root)
    return _given_file(config, root, pretrained)


def _given_file(config: ModelConfig, root: Path | None, pretrained: Path | None) -> tuple[Path | None, str]:
    if config.weights == "random":
        return None, ""
    if config.weights in (*PRETRAINED, "system"):
        return pretrained, "" if pretrained else "no pre-training has run: training starts from random weights"
    path = Path(config.file)
    if not path.is_absolute() and root is not None and (root / path).is_file():
        path = root / path
    if not path.is_file():
        raise UserError(
            f"model.file: no file {path}", "a .safetensors or .pth file", "correct `file`, or set `weights: random`"
        )
    return path, ""


def imagenet_file(arch: str, root: Path | None) -> tuple[Path | None, str]:
    """A checked file with torchvision's ImageNet weights: in `root`, in torch's own cache, or downloaded there.

    Returns (None, why) when there is none and it can't be downloaded.
    Raises `UserError` when a file's sha256 does not begin with the eight digits in its name.
    """
    known = torchvision.models.get_model_weights(arch)
    urls = [known.DEFAULT.url, *(entry.url for entry in known if entry is not known.DEFAULT)]
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in [root, cache] if root else [cache]:
        for url in urls:
            path = folder / url.rsplit("/", 1)[1]
            if path.is_file():
                _check_digits(path)
                return path, ""
    try:
        return _download(urls[0], cache), ""
    except (OSError, RuntimeError) as error:
        names = " or ".join(url.rsplit("/", 1)[1] for url in urls)
        return None, (
            f"no ImageNet weights for {arch} (download failed: {error}); training starts from random weights and "
            f"takes `stages_from_scratch`. To have them offline, put {names} into the folder VISIONOPS_WEIGHTS"
        )


def _check_digits(path: Path) -> None:
    wanted = path.stem.rsplit("-", 1)[1]
    found = sha256_file(path)
    if not found.startswith(wanted):
        raise UserError(
            f"{path}: sha256 begins with {found[:8]}",
            f"{wanted}, as its name says",
            "the file is damaged: fetch it again",
        )


def _download(url: str, cache: Path) -> Path:
    """torchvision's own way, its check of the hash included (`RuntimeError`); a silent network gives up (`OSError`)."""
    import socket

    cache.mkdir(parents=True, exist_ok=True)
    path = cache / url.rsplit("/", 1)[1]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[1], progress=False)
    finally:
        socket.setdefaulttimeout(before)
    return path


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a .safetensors or .pth file; the latter only as far as torch reads it without unpickling code.

    Raises `UserError` for another ending, a damaged file, or one that holds anything but tensors.
    """
    allowed, do = "a state dict of tensors in a .safetensors or .pth file", "save it with safetensors.torch.save_file"
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise UserError(f"weights file {path} ends in {path.suffix or 'nothing'}", allowed, do)
    try:
        found = _load(path)
    except Exception as error:
        raise UserError(f"weights file {path} can't be read safely: {_first_line(error)}", allowed, do) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"weights file {path} holds more than tensors", allowed, do)
    return dict(found)


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(str(path))
    return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _fill(backbone: nn.Module, tensors: dict[str, Tensor], path: Path, config: ModelConfig) -> list[str]:
    """Loads what fits. Returns the names left random, which only the cifar stem's first convolution may be."""
    given = {_plain(name): value for name, value in tensors.items()}
    given = {name: value for name, value in given.items() if not CLASSIFIER_KEYS.match(name)}
    wanted = backbone.state_dict()
    excused = {"conv1.weight"} if config.stem == "cifar" and config.weights == "imagenet" else set()
    # Counters of old checkpoints lack nothing that matters: BatchNorm only reads them without momentum.
    excused |= {name for name in wanted if name.endswith("num_batches_tracked")}
    fitting = {name: value for name, value in given.items() if name in wanted and value.shape == wanted[name].shape}
    lacking = sorted(set(wanted) - set(fitting) - excused)
    if lacking:
        raise UserError(
            f"weights file {path} does not fit {config.arch}: {len(lacking)} of {len(wanted)} tensors are missing "
            f"or of another shape, the first is {lacking[0]}",
            f"the backbone of {config.arch} with stem `{config.stem}` under torchvision's names",
            "take the file of this architecture, or change model.arch",
        )
    backbone.load_state_dict(fitting, strict=False)
    return sorted(name for name in set(wanted) - set(fitting) if not name.endswith("num_batches_tracked"))


def _plain(name: str) -> str:
    """Names as torchvision has them: without the prefixes of a wrapper or of this project's own model.safetensors."""
    name = name.removeprefix("module.").removeprefix("network.")
    return name.removeprefix("backbone.")
