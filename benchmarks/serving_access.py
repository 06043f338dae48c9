"""A key as a real client has one, whose rate no benchmark reaches."""

from pathlib import Path

from bentos.access.keys import KeyFile, change_keys, keys_file, new_key

PER_MINUTE = 10_000_000


def make_key(state: Path, system: str = "quickstart", scopes: tuple[str, ...] = ("predict",)) -> tuple[str, str]:
    """A new key for the service over `state`, as a request header."""
    key, text = new_key(scopes, "benchmark", requests_per_minute=PER_MINUTE)
    change_keys(keys_file(state, system, None), lambda file: KeyFile(keys=(*file.keys, key)))
    return "X-API-Key", text
