"""GET /predictions/{id}/lineage: the passport of one prediction."""

from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from bentos.access.scopes import ADMIN
from bentos.hooks import Client
from bentos.http.feedback import unknown
from bentos.http.problems import json_answer
from vision.passport import Passport, Places, trace


async def lineage(request: Request) -> Response:
    prediction_id = request.path_params["id"]
    passport = await to_thread.run_sync(_trace, prediction_id, request.app.state.books.places())
    if passport is None:
        raise unknown(prediction_id)
    return json_answer(passport if _may_see_people(request) else without_people(passport))


def without_people(passport: Passport) -> Passport:
    """Whoever knows the id of an answer may see what led to it, not who asked and who said that it was wrong."""
    feedback = passport.feedback and _without(passport.feedback, "key_id")
    return passport.model_copy(
        update={"prediction": _without(passport.prediction, "client_hash"), "feedback": feedback}
    )


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _may_see_people(request: Request) -> bool:
    client: Client | None = request.scope.get("state", {}).get("client")
    return client is not None and ADMIN in client.scopes


def _trace(prediction_id: str, places: Places) -> Passport | None:
    try:
        return trace(prediction_id, places)
    except ValueError:  # No id at all.
        return None
