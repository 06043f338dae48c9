"""The event that starts a training through a Prefect server, and whether there is a server at all."""

import asyncio
from uuid import NAMESPACE_URL, uuid5

from tasks.monitoring.training_requests import Request

DETECTED = "visionops.drift.detected"


def has_server() -> bool:
    """A Prefect server that others use as well; not the one that Prefect starts for this process alone."""
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def send_request(request: Request) -> None:
    """Emits DETECTED and returns when the server has it; raises what the connection raised otherwise.

    Sent again after a kill it is the same event, by its id.
    """
    from prefect.events import Event, Resource

    event = Event(
        event=DETECTED,
        resource=Resource({"prefect.resource.id": resource_of(request.system)}),
        payload={"reason": request.reason, "window": request.window, "request": request.no},
        id=uuid5(NAMESPACE_URL, f"{resource_of(request.system)}/{request.no}/{request.at}"),
    )
    asyncio.run(_emit(event))


def resource_of(system: str) -> str:
    return f"visionops.system.{system}"


async def _emit(event) -> None:
    from prefect.events.clients import get_events_client

    async with get_events_client(reconnection_attempts=2, checkpoint_every=1) as client:
        await client.emit(event)
