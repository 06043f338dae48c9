"""JSON Web Tokens, verified by PyJWT against one key and one algorithm, both chosen by config.

A token's own `alg` decides nothing: `none`, and HS256 signed with a public key (key confusion), fail like any other
wrong algorithm. Verifying costs 30 to 200 microseconds by algorithm, so a token that was good is remembered by its hash until
it expires.
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from jwt.algorithms import get_default_algorithms

from bentos.access.keys import WatchedFile
from configs.access import TokenConfig
from vision.errors import UserError

log = logging.getLogger("bentos.access")

REMEMBERED = 1024
MAX_CHARS = 4096
MIN_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Token:
    """What a good token says. key_id: `token:<sub>`. exp_s: seconds since the epoch, leeway added."""

    key_id: str
    scopes: frozenset[str]
    exp_s: float


class TokenRefused(Exception):
    """Why a token is no good; nothing of the token stands in it."""


class TokenVerifier:
    def __init__(self, config: TokenConfig) -> None:
        """Raises `UserError` for a key file that is not there, or is of another kind than the algorithm."""
        self._config = config
        self._watched = WatchedFile(config.key_file)
        self._jwt = jwt.PyJWT({"enforce_minimum_key_length": True})
        self._key = self._read_key()
        self._known: dict[bytes, Token] = {}

    def verify(self, text: str) -> Token:
        """Raises `TokenRefused`."""
        if self._watched.changed():
            self._renew()
        if len(text) > MAX_CHARS:
            raise TokenRefused("a token that is too long")
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        token = self._known.get(digest)
        if token is None:
            token = self._checked(text)
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[digest] = token
        if token.exp_s <= time.time():
            raise TokenRefused("an expired token")
        return token

    def _checked(self, text: str) -> Token:
        config = self._config
        try:
            claims = self._jwt.decode(
                text,
                self._key,
                algorithms=[config.algorithm],
                audience=config.audience,
                issuer=config.issuer,
                leeway=config.leeway_s,
                options={"require": ["exp", "sub"], "verify_aud": config.audience is not None},
            )
            return Token(f"token:{claims['sub']}"[:128], _scopes(claims), float(claims["exp"]) + config.leeway_s)
        except jwt.ExpiredSignatureError:
            raise TokenRefused("an expired token") from None
        except jwt.InvalidAlgorithmError:
            raise TokenRefused("a token of another algorithm") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefused(f"a token without `{error.claim}`") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise TokenRefused("a token of another issuer or for another audience") from None
        except Exception:  # PyJWT parses a stranger's base64, JSON and numbers.
            raise TokenRefused("a token that is not signed by the configured key") from None

    def _renew(self) -> None:
        try:
            self._key = self._read_key()
            self._known.clear()
        except UserError as error:
            log.error("the token key stays as it was: %s", error)

    def _read_key(self) -> Any:
        path, name = self._config.key_file, self._config.algorithm
        algorithm = get_default_algorithms()[name]
        try:
            text = path.read_bytes()
            if name == "HS256":
                text = text.strip()
                if len(text) < MIN_SECRET_BYTES:
                    raise ValueError(f"{len(text)} bytes are too few to be a secret")
            key = algorithm.prepare_key(text)
            if message := algorithm.check_key_length(key):
                raise ValueError(message)
            if name != "HS256" and "Private" in type(key).__name__:
                raise ValueError("a private key: a service that verifies has no need of it")
        except (OSError, ValueError, TypeError, jwt.InvalidKeyError) as error:
            raise _bad_key(path, name, error) from None
        return text if name == "HS256" else key


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """`scope` as OAuth has it (RFC 8693: names with blanks between), or a list `scopes`."""
    found = claims.get("scope", claims.get("scopes", ()))
    names = found.split() if isinstance(found, str) else found
    return frozenset(name for name in names if isinstance(name, str))


def _bad_key(path: Path, name: str, error: Exception) -> UserError:
    secret = f"a secret of {MIN_SECRET_BYTES} bytes or more (openssl rand -hex 32)"
    return UserError(
        f"serving.access.token.key_file = {path}: {error}",
        secret if name == "HS256" else f"the public key for {name}, as PEM",
        "correct the file, or `algorithm`",
    )
