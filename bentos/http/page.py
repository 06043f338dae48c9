"""GET /: the page that people use, from the files in `web/`. No build step: what lies there is what is sent."""

from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse

from bentos.http.problems import Refused

WEB = Path(__file__).resolve().parents[2] / "web"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


async def page(_: Request) -> FileResponse:
    return FileResponse(WEB / "index.html", media_type="text/html")


async def page_file(request: Request) -> FileResponse:
    """Files directly in `web/` only. Raises `Refused` for any other name."""
    name = request.path_params["name"]
    path = WEB / name
    if path.parent != WEB or path.suffix not in TYPES or not path.is_file():
        raise Refused(HTTPStatus.NOT_FOUND, f"no file {name[:100]!r}", "the files of the page at /", "correct the path")
    return FileResponse(path, media_type=TYPES[path.suffix])


async def icon(_: Request) -> FileResponse:
    """What browsers ask for unasked."""
    return FileResponse(WEB / "icon.svg", media_type=TYPES[".svg"])
