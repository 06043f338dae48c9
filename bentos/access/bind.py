"""Where the server listens: on loopback it may answer without keys, anywhere else it may not."""

import ipaddress

from vision.errors import UserError

LOCAL_NAMES = ("localhost", "localhost.localdomain")


def is_loopback(host: str | None) -> bool:
    """host: an address or a name; None and what can't be understood are not loopback."""
    if host is None:
        return False
    if host.lower() in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def bind_host() -> str:
    """The address that `bentoml serve` is about to listen on: its `--host`, or what BentoML's settings say.

    BentoML hands it to no hook, so it is read from the command that is being run.
    """
    import click
    from bentoml._internal.container import BentoMLContainer

    context = click.get_current_context(silent=True)
    asked = context.params.get("host") if context is not None else None
    return str(asked or BentoMLContainer.http.host.get())


def check_bind(host: str, locked: bool) -> None:
    """locked: there is a way to tell clients apart. Raises `UserError` where the whole network could use the service."""
    if locked or is_loopback(host):
        return
    raise UserError(
        f"the service would listen on {host} and knows no key: whoever reaches it could use it",
        "an address of this machine alone (127.0.0.1), or API keys or a token issuer",
        "make a key (python -m bentos.access create), set serving.access.token, or leave out --host",
    )
