"""Which scope each path needs. What is not named here does not exist for a client: BentoML's own pages included."""

ADMIN = "admin"
OPEN = "open"
"""No key: probes, metrics, and what the page and the docs are made of; nothing of anyone's."""

SCOPES: dict[str, str] = {
    "/": OPEN,
    "/docs": OPEN,
    "/openapi.json": OPEN,
    "/health": OPEN,
    "/healthz": OPEN,
    "/livez": OPEN,
    "/readyz": OPEN,
    "/metrics": OPEN,
    "/favicon.ico": OPEN,
    "/model/version": "predict",
    "/predict": "predict",
    "/explain": "predict",
    "/feedback": "feedback",
    "/release": ADMIN,
}
UNDER: tuple[tuple[str, str], ...] = (("/web/", OPEN), ("/docs/", OPEN), ("/predictions/", "predict"))
"""The same for what lies under a folder."""


def scope_of(path: str) -> str | None:
    """path: decoded, as the router matches it. None: no such path."""
    found = SCOPES.get(path)
    if found is not None:
        return found
    return next((scope for folder, scope in UNDER if path.startswith(folder)), None)
