"""Who may use a service, how often, and from which pages."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vision.settings import Section

Algorithm = Literal["EdDSA", "ES256", "RS256", "HS256"]


class TokenConfig(Section):
    """JSON Web Tokens (RFC 7519) of an issuer of yours. One algorithm, chosen here: a token's own header has no say."""

    algorithm: Algorithm
    key_file: Path
    """The issuer's public key as PEM; for HS256 the shared secret, 32 bytes or more. A new file is taken up in a second."""
    issuer: str | None = None
    audience: str | None = None
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """How far two clocks may differ: a token counts this long after its `exp`."""


class AccessConfig(Section):
    """API keys need nothing here: `python -m bentos.access create`."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Of one key in any minute, over all workers of a host; a key may have a rate of its own."""
    keys_file: Path | None = None
    """None: `systems/<system>/access/keys.json` in the state folder."""
    token: TokenConfig | None = None
    cors_origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/*]+$")], ...] = ()
    """Origins (https://app.example.org) whose pages may call the service; none unless named."""
    body_timeout_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    """A request's whole body must have come by then, or it gets 408."""
