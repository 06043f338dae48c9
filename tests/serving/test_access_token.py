"""Tokens: only those that the configured key signed, with the configured algorithm, in time, for us."""

import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bentos.access.token import TokenRefused, TokenVerifier
from configs.access import TokenConfig
from vision.errors import UserError

SECRET = "0123456789abcdef" * 4


def pair(algorithm: str) -> tuple[object, bytes]:
    """A private key and its public half as PEM; for HS256 the secret, twice."""
    if algorithm == "HS256":
        return SECRET, SECRET.encode()
    private = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
    }[algorithm]()
    return private, pem(private.public_key())


def pem(public) -> bytes:
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes) -> dict:
    made = {
        "sub": "app-7",
        "exp": time.time() + 60,
        "scope": "predict feedback",
        "iss": "us",
        "aud": "vision",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


@pytest.fixture
def config(tmp_path):
    def write(algorithm: str, key: bytes, **more) -> TokenConfig:
        path = tmp_path / "key.pem"
        path.write_bytes(key)
        return TokenConfig(algorithm=algorithm, key_file=path, issuer="us", audience="vision", **more)

    return write


@pytest.fixture
def eddsa(config):
    private, public = pair("EdDSA")
    return private, public, TokenVerifier(config("EdDSA", public))


def refused(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(token)
    assert token not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "HS256"])
def test_a_good_token_names_its_client_and_scopes(config, algorithm):
    private, public = pair(algorithm)
    verifier = TokenVerifier(config(algorithm, public))
    token = verifier.verify(jwt.encode(claims(), private, algorithm))
    assert token.key_id == "token:app-7"
    assert token.scopes == {"predict", "feedback"}
    stranger = "f" * 64 if algorithm == "HS256" else pair(algorithm)[0]
    assert "not signed" in refused(verifier, jwt.encode(claims(), stranger, algorithm))


def test_scopes_may_be_a_list(eddsa):
    private, _, verifier = eddsa
    assert verifier.verify(jwt.encode(claims(scope=None, scopes=["keep"]), private, "EdDSA")).scopes == {"keep"}
    assert verifier.verify(jwt.encode(claims(scope=None), private, "EdDSA")).scopes == frozenset()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": time.time() - 60}, "expired"),
        ({"exp": None}, "without `exp`"),
        ({"sub": None}, "without `sub`"),
        ({"iss": "them"}, "another issuer"),
        ({"iss": None}, "without `iss`"),
        ({"aud": "other"}, "another issuer"),
        ({"aud": None}, "without `aud`"),
        ({"nbf": time.time() + 600}, "not signed"),
        ({"exp": "soon"}, "not signed"),
        ({"exp": 10**400}, "not signed"),
    ],
)
def test_claims_that_are_not_right_are_refused(eddsa, changes, reason):
    private, _, verifier = eddsa
    assert reason in refused(verifier, jwt.encode(claims(**changes), private, "EdDSA"))


def test_a_token_without_signature_is_refused(eddsa):
    _, _, verifier = eddsa
    assert "another algorithm" in refused(verifier, jwt.encode(claims(), None, "none"))
    head, body, _ = jwt.encode(claims(), SECRET, "HS256").split(".")
    for name in ("none", "None", "nOnE", ""):
        forged = base64.urlsafe_b64encode(json.dumps({"alg": name}).encode()).decode().rstrip("=")
        assert refused(verifier, f"{forged}.{body}.")
        assert refused(verifier, f"{head}.{body}.")


def test_a_public_key_used_as_a_shared_secret_is_refused(config):
    """Key confusion: an HS256 token signed with the PEM that everybody may have."""
    private, public = pair("RS256")
    verifier = TokenVerifier(config("RS256", public))
    # PyJWT itself won't sign so: the forger has a library that does.
    import hashlib
    import hmac

    def encoded(part: dict) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")

    signed = encoded({"alg": "HS256", "typ": "JWT"}) + b"." + encoded(claims())
    mac = base64.urlsafe_b64encode(hmac.new(public, signed, hashlib.sha256).digest()).rstrip(b"=")
    assert "another algorithm" in refused(verifier, (signed + b"." + mac).decode())
    assert verifier.verify(jwt.encode(claims(), private, "RS256"))


def test_keys_named_in_the_token_are_not_looked_at(eddsa):
    """`jwk`, `jku`, `x5u` and `kid` of the header are the forger's own."""
    _, _, verifier = eddsa
    own = ed25519.Ed25519PrivateKey.generate()
    jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(own.public_key()))
    headers = {"jwk": jwk, "jku": "http://127.0.0.1:1/keys", "kid": "../../../../dev/null"}
    assert "not signed" in refused(verifier, jwt.encode(claims(), own, "EdDSA", headers))


def test_a_changed_token_is_refused(eddsa):
    private, _, verifier = eddsa
    head, body, signature = jwt.encode(claims(scope="predict"), private, "EdDSA").split(".")
    raised = base64.urlsafe_b64encode(json.dumps(claims(scope="admin")).encode()).decode().rstrip("=")
    for forged in (
        f"{head}.{raised}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        "..",
        "a.b.c",
        "x" * 5000,
        "é.é.é",
    ):
        assert refused(verifier, forged)


def test_a_remembered_token_expires_all_the_same(eddsa, monkeypatch):
    private, _, verifier = eddsa
    token = jwt.encode(claims(), private, "EdDSA")
    assert verifier.verify(token)
    late = time.time() + 75
    monkeypatch.setattr("bentos.access.token.time.time", lambda: late)
    assert "expired" in refused(verifier, token)


def test_a_new_key_file_ends_the_old_tokens(eddsa, config, monkeypatch):
    private, _, verifier = eddsa
    token = jwt.encode(claims(), private, "EdDSA")
    assert verifier.verify(token)
    fresh, public = pair("EdDSA")
    config("EdDSA", public)
    verifier._watched._next_s = 0
    assert "not signed" in refused(verifier, token)
    assert verifier.verify(jwt.encode(claims(), fresh, "EdDSA"))


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("HS256", b"short"),
        ("HS256", pem(ed25519.Ed25519PrivateKey.generate().public_key())),
        ("RS256", pem(rsa.generate_private_key(65537, 1024).public_key())),
        ("RS256", pem(ed25519.Ed25519PrivateKey.generate().public_key())),
        ("ES256", pem(ec.generate_private_key(ec.SECP384R1()).public_key())),
        ("EdDSA", b"no key at all"),
    ],
)
def test_a_key_of_another_kind_stops_the_start(config, algorithm, key):
    with pytest.raises(UserError, match=r"serving\.access\.token\.key_file"):
        TokenVerifier(config(algorithm, key))


def test_a_private_key_stops_the_start(config):
    private, _ = pair("EdDSA")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(UserError, match="no need of it"):
        TokenVerifier(config("EdDSA", private.private_bytes(*form)))


def test_a_key_file_that_is_not_there_stops_the_start(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        TokenVerifier(TokenConfig(algorithm="EdDSA", key_file=tmp_path / "none.pem"))
