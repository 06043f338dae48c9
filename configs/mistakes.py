"""Turns pydantic's errors into sentences: which file or variable, which key, the value got, and what is allowed.

What is allowed is read from the JSON schema of the config, so that a message and the schema can't disagree.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from configs.yaml_files import SECRET_KEY, Layer
from vision.errors import UserError

TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "keys with values",
    "null": "null",
}


def user_error(error: ValidationError, model: type[BaseModel], layers: list[Layer]) -> UserError:
    """One `UserError` for all that `error` holds. `layers`: where the values came from, the strongest first."""
    schema = model.model_json_schema(by_alias=True)
    found: dict[tuple[str, str], str] = {}
    for detail in error.errors(include_url=False):
        path, node = _walk(schema, detail["loc"])
        got, allowed = _sentence(detail, path, node, schema, layers)
        # A value that fits no member of a union brings an error a member; the schema's words name them all.
        found.setdefault(got, allowed)
    if len(found) == 1:
        ((got, allowed),) = found.items()
        return UserError(got, allowed, "correct that value; nothing has run yet")
    lines = "".join(f"\n  - {got}\n      allowed: {allowed}" for got, allowed in found.items())
    return UserError(
        f"{len(found)} mistakes in the configuration:{lines}", "as each line says", "correct them; nothing has run yet"
    )


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean X?` where something close is allowed, and else nothing."""
    close = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`? " if close else ""


def _sentence(
    detail: ErrorDetails, path: tuple[str | int, ...], node: Mapping[str, Any], schema: Mapping, layers: list[Layer]
) -> tuple[str, str]:
    """(got, allowed) of one error."""
    kind, key = detail["type"], str(path[-1]) if path else ""
    if kind == "missing":
        return f"{_file(layers)}: {_dotted(path)} is missing", _words(node, schema)
    if kind == "extra_forbidden":
        node = _walk(schema, detail["loc"][:-1])[1]
        branches = [_resolved(branch, schema) for branch in node.get("anyOf", [node])]  # a section that may be null
        names = [name for branch in branches for name in branch.get("properties", {})]
        return f"{_place(path, layers)}: unknown key {_dotted(path)} = {_value(path, detail['input'])}", (
            f"{nearest(key, names)}one of {', '.join(names)}"
        )
    if detail["loc"][-1:] == ("[key]",):
        names = node.get("enum", [])
        return f"{_place(path, layers)}: unknown name {_dotted(path)}", f"{nearest(key, names)}{_words(node, schema)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        union = _discriminator(node)
        tags = list(union["mapping"])
        field, tag = (*path, union["propertyName"]), detail.get("ctx", {}).get("tag")
        if tag is None:
            return f"{_file(layers)}: {_dotted(field)} is missing", f"one of {', '.join(tags)}"
        return f"{_place(field, layers)}: {_dotted(field)} = {tag!r}", f"{nearest(tag, tags)}one of {', '.join(tags)}"
    if kind == "value_error":
        return (
            f"{_place(path, layers)}: {_dotted(path) or 'the system'}: {detail['ctx']['error']}",
            "values that go together",
        )
    hint = nearest(detail["input"], node.get("enum", [])) if isinstance(detail["input"], str) else ""
    return f"{_place(path, layers)}: {_dotted(path)} = {_value(path, detail['input'])}", hint + _words(node, schema)


def _walk(schema: Mapping[str, Any], loc: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Mapping[str, Any]]:
    """The path of a value as a YAML has it, and its part of the schema. `loc` also holds names of union members."""
    path: list[str | int] = []
    node: Mapping[str, Any] = schema
    for part in loc:
        node = _resolved(node, schema)
        if (member := _member(node, part)) is not None:
            node = member
        elif part == "[key]":
            node = node.get("propertyNames", {}) if "propertyNames" in node else {"type": "string"}
        else:
            branches = [_resolved(branch, schema) for branch in node.get("anyOf", [node])]
            child = next((c for branch in branches if (c := _child(branch, part)) is not None), None)
            if child is not None:
                path.append(part)
                # `[key]` follows the key itself: its names are those of the mapping around it.
                node = (
                    {**child, "propertyNames": branches[0]["propertyNames"]}
                    if "propertyNames" in branches[0]
                    else child
                )
            elif any("properties" in branch for branch in branches) and part == loc[-1]:
                path.append(part)
    return tuple(path), _resolved(node, schema)


def _member(node: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    """The member that `part` names of a union that goes by a field such as `type`."""
    member = _discriminator(node).get("mapping", {}).get(part)
    return {"$ref": member} if member else None


def _discriminator(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """By which field a union goes (`propertyName`, `mapping`), also one that may be null; empty for what is none."""
    return next((b["discriminator"] for b in [node, *node.get("anyOf", [])] if "discriminator" in b), {})


def _child(node: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    if isinstance(part, int):
        return node.get("items") or (node["prefixItems"][part] if part < len(node.get("prefixItems", [])) else None)
    extra = node.get("additionalProperties")
    return node.get("properties", {}).get(part) or (extra if isinstance(extra, Mapping) else None)


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _words(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a part of the schema allows: choices, type and limits."""
    node = _resolved(node, schema)
    if "enum" in node:
        return f"one of {', '.join(str(choice) for choice in node['enum'])}"
    if "const" in node:
        return f"only {node['const']}"
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_words(branch, schema) for branch in node["anyOf"]))
    if "properties" in node:
        return f"keys among {', '.join(node['properties'])}"
    if "discriminator" in node:
        union = node["discriminator"]
        return f"keys with a `{union['propertyName']}` among {', '.join(union['mapping'])}"
    words = TYPE_NAMES.get(node.get("type", ""), "a value of the right type")
    if "items" in node:
        words += f" of {_words(node['items'], schema)}"
    if words == "text":
        words += f" like {node['pattern']}" if "pattern" in node else " (put numbers and yes/no in quotes)"
    bounds = [f"{word} {node[key]}" for key, word in _BOUNDS.items() if key in node]
    return f"{words}, {' and '.join(bounds)}" if bounds else words


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "minItems": "entries at least",
    "minLength": "letters at least",
}


def _place(path: tuple[str | int, ...], layers: list[Layer]) -> str:
    """The strongest layer that sets `path`, or a part of it, or something above it; of the whole system, its file."""
    for layer in layers if path else ():
        value: Any = layer.values
        for part in path:
            if isinstance(value, Mapping):
                if part not in value and str(part) not in value:
                    break
                value = value[part] if part in value else value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
        else:
            return _variable(layer.source, path) if layer.source in ("environment", ".env") else layer.source
    return _file(layers)


def _variable(source: str, path: tuple[str | int, ...]) -> str:
    return f"{source} ({'__'.join(('VISIONOPS', *(str(part).upper() for part in path)))})"


def _file(layers: list[Layer]) -> str:
    return next((layer.source for layer in layers if layer.source not in ("override", "environment", ".env")), "config")


def _dotted(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _value(path: tuple[str | int, ...], value: Any) -> str:
    if path and SECRET_KEY.search(str(path[-1])):
        return "(not shown)"
    if isinstance(value, Mapping):
        # Its values may be secrets in a place that the schema doesn't know.
        return f"{{{', '.join(map(str, value))}: …}}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
