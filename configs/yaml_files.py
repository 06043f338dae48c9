"""YAML files, read strictly: no duplicate key, no secret, `extends:` followed. Knows nothing of what the keys mean."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vision.errors import UserError

SECRET_KEY = re.compile(r"passw(or)?d|secret|token|api_?key|private_?key|credential|webhook", re.IGNORECASE)
SECRET_VALUE = re.compile(
    r"://[^\s/@:]*:[^\s/@]+@"  # a password in a URL
    r"|[?&](token|key|api_?key|sig|signature|secret|password|access_token)=[^&\s]"
    r"|://(hooks\.slack|[a-z.]*discord(app)?\.com/api/webhooks|[a-z0-9.-]*webhook)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|AKIA|AIza|hf_)[A-Za-z0-9_-]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.",  # a JSON web token
    re.IGNORECASE,
)
"""What services hand out as secrets, by its form; whatever key it stands under."""


class Layer(NamedTuple):
    """One place that values come from. `source`: a file, `override`, `environment` or `.env`."""

    source: str
    values: dict[str, Any]


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; this one refuses them."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key `{key.value}` is there twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that one file holds, `extends:` included as it stands.

    Raises `UserError` with file and line for a syntax error or a duplicate key, and for a file that holds no mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{shown(path)}, line {mark.line + 1}, column {mark.column + 1}" if mark else shown(path)
        raise UserError(f"{place}: {error.problem}", "valid YAML with each key once", "mend that line") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{shown(path)}: {error}", "valid YAML in UTF-8", "mend the file") from None
    if not isinstance(values, dict):
        got = "nothing" if values is None else f"a {type(values).__name__}"
        raise UserError(
            f"{shown(path)} holds {got}", "keys with values", "start from a file that works, such as quickstart.yaml"
        )
    refuse_secrets(values, shown(path))
    return values


def layers_of(path: Path, chain: tuple[Path, ...] = ()) -> list[Layer]:
    """`path` and all that it extends, the strongest first. Raises `UserError` for a missing part or a circle."""
    path = path.resolve()
    if path in chain:
        circle = " -> ".join(p.name for p in (*chain[chain.index(path) :], path))
        raise UserError(
            f"`extends` goes in a circle: {circle}", "files that extend towards a common base", "break the circle"
        )
    if not path.is_file():
        raise UserError(
            f"{shown(chain[-1])}: extends `{shown(path)}`, which is not there",
            "a YAML file, named relative to the folder of the file that extends it",
            "correct the name after `extends:`",
        )
    values = read_mapping(path)
    bases = _bases(values.pop("extends", None), path)
    layers = [Layer(shown(path), values)]
    # A later base wins over an earlier one, as a reader of the list expects.
    for base in reversed(bases):
        layers += layers_of(base, (*chain, path))
    return layers


def _bases(extends: Any, path: Path) -> list[Path]:
    names = [] if extends is None else [extends] if isinstance(extends, str) else extends
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{shown(path)}: extends = {extends!r}", "a file name or a list of them", "correct `extends:`")
    return [path.parent / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml") for name in names]


def merged(layers: list[Layer]) -> dict[str, Any]:
    """All layers as one mapping; `layers` has the strongest first. Mappings merge, everything else replaces."""
    result: dict[str, Any] = {}
    for layer in reversed(layers):
        result = _merge(result, layer.values)
    return result


def _merge(base: Any, top: Any) -> Any:
    if isinstance(base, list) and isinstance(top, Mapping) and top and all(str(key).isdigit() for key in top):
        # `training.stages.0.epochs`: a position in a list that is there already.
        patches = {int(key): value for key, value in top.items()}
        if max(patches) < len(base):
            return [_merge(item, patches[i]) if i in patches else item for i, item in enumerate(base)]
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return top
    if "type" in base and top.get("type", base["type"]) != base["type"]:
        # A folder's keys mean nothing to a drawn source: another type starts afresh.
        return dict(top)
    return {**base, **{key: _merge(base.get(key), value) for key, value in top.items()}}


def refuse_secrets(values: Any, source: str, path: tuple[str, ...] = ()) -> None:
    """Raises `UserError`, without the value, for a key that looks like a secret's and has a value, or such a value."""
    if isinstance(values, str) and SECRET_VALUE.search(values):
        raise _secret(source, path)
    items = values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        here = (*path, str(key))
        # A section `token:` holds settings, and a `*_file` names a place: only a plain value is a secret itself.
        plain = not isinstance(value, Mapping) and value not in (None, "", [])
        if plain and isinstance(key, str) and SECRET_KEY.search(key) and not key.endswith("_file"):
            raise _secret(source, here)
        refuse_secrets(value, source, here)


def _secret(source: str, path: tuple[str, ...]) -> UserError:
    return UserError(
        f"{source}: {'.'.join(path)} looks like a secret (its value is not shown)",
        "no passwords, tokens, keys or webhooks in a system's config, which is recorded in MLflow and copied into every "
        "model package",
        "take it out, change it if others may have seen it, and hand it over by its own variable (VISIONOPS_…, see "
        ".env.example) in the environment or .env",
    )


def shown(path: Path) -> str:
    """The path as a reader of a message wants it: relative to the working directory where it lies below it."""
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
