"""Tells people: a line in the log, always, and a webhook where one is configured."""

import json
import logging
import urllib.request
from http.client import HTTPException

from tasks.run import Run

TIMEOUT_S = 5


def alert(run: Run, what: str, reasons: tuple[str, ...]) -> None:
    """Never raises: an alarm that can't be delivered must not change what the flow decided."""
    body = {"system": run.config.system, "what": what, "reasons": list(reasons), "reason": run.reason}
    logger = logging.getLogger("visionops.alert")
    logger.warning("%s: %s: %s", run.config.system, what, "; ".join(reasons))
    if run.alert_webhook is None:
        return
    try:
        url = run.alert_webhook.get_secret_value()
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
    except OSError as error:
        logger.error("the alert could not be delivered to the webhook: %s", error)
    except (ValueError, HTTPException) as error:  # their texts may hold the URL, which is a secret
        logger.error("the alert could not be delivered to the webhook: %s", type(error).__name__)
