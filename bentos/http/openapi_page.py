"""GET /openapi.json, and /docs: Swagger UI from the files that BentoML brings along, so that it works without a network."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from bentos.http.openapi import document
from bentos.http.problems import Refused, json_answer
from bentos.releasing.router import Lanes

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>VisionOps: the API</title>
<link rel="icon" href="web/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<main id="swagger-ui"></main>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = 'SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });\n'
FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


async def openapi(request: Request) -> Response:
    """Made once for each release."""
    state = request.app.state
    lanes: Lanes = state.predictor.router.lanes
    made_of, made = getattr(state, "openapi", (None, None))
    if made_of is not lanes:
        made = document(lanes, lanes.champion.served.serving.max_images)
        state.openapi = (lanes, made)
    return json_answer(made)


async def docs(_: Request) -> Response:
    return Response(PAGE, media_type="text/html")


async def docs_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "start.js":
        return Response(START, media_type="text/javascript")
    if name not in FILES:
        raise Refused(404, f"no file {name[:100]!r}", "/docs", "correct the path")
    return FileResponse(_folder() / name, media_type=FILES[name])


def _folder() -> Path:
    from bentoml._internal import server

    return Path(server.__file__).parent / "static_content"
