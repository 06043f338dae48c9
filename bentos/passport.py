"""GET /predictions/{id}/lineage: the passport of one prediction."""

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from bentos.feedback import unknown
from bentos.problems import json_answer
from vision.passport import Passport, Places, trace


async def lineage(request: Request) -> Response:
    prediction_id = request.path_params["id"]
    passport = await to_thread.run_sync(_trace, prediction_id, request.app.state.books.places())
    if passport is None:
        raise unknown(prediction_id)
    return json_answer(passport)


def _trace(prediction_id: str, places: Places) -> Passport | None:
    try:
        return trace(prediction_id, places)
    except ValueError:  # No id at all.
        return None
