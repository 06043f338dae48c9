"""What every answer tells the browser: run nothing but the page's own, frame it nowhere, keep no copy."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Send

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # The page shows the chosen photo and the heatmap from memory.
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
).encode()
DOCS_POLICY = PAGE_POLICY.replace(b"style-src 'self'", b"style-src 'self' 'unsafe-inline'")
"""Swagger UI writes style elements. It may run no script but its own, like the page."""
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]
TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
KEEP_NOTHING, ASK_FIRST = (b"cache-control", b"no-store"), (b"cache-control", b"no-cache")
PAGE_FILES = ("/web/", "/docs/")
ANSWERED = ["RateLimit", "RateLimit-Policy", "Retry-After"]
CORS_AGE_S = 600


def headers_for(path: str, scheme: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer at `path`, beside its own."""
    policy = DOCS_POLICY if path == "/docs" else PAGE_POLICY
    kept = ASK_FIRST if path.startswith(PAGE_FILES) else KEEP_NOTHING
    made = [*SECURITY, (b"content-security-policy", policy), kept]
    return [*made, TRANSPORT] if scheme == "https" else made


def with_headers(send: Send, added: list[tuple[bytes, bytes]]) -> Send:
    """`send`, with headers that the answer has not set itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message["headers"]
            names = {name.lower() for name, _ in own}
            message = {**message, "headers": [*own, *(header for header in added if header[0] not in names)]}
        await send(message)

    return sending


def with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """`app` for the pages of these origins too; their preflights are answered here, without a key. None: `app` itself."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        expose_headers=ANSWERED,
        max_age=CORS_AGE_S,
    )
