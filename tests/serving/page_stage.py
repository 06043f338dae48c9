"""The page in a real Chromium."""

import contextlib
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

from starlette.testclient import TestClient

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1200, "height": 900}


@contextlib.contextmanager
def chromium() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without an installed Chromium, playwright's own; where neither is, the tests fail and say so.
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield started
        started.close()


@contextlib.contextmanager
def pages(browser, url: str) -> Iterator:
    """A function that opens the page, and what the browser's console complains of. fakes: path -> JSON in the service's place;
    app: answers everything, in the place of a server."""
    opened, complaints = [], []

    def start(url=url, fakes=None, app=None, **options):
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if app is not None:
            page.route("**/*", handing_to(app))
        for path, answer in (fakes or {}).items():
            page.route(f"**/{path}", saying(answer))
        page.goto(url)
        opened.append(context)
        return page

    yield start, complaints
    for context in opened:
        context.close()


def saying(answer):
    return lambda route: route.fulfill(json=answer)


def handing_to(app: TestClient):
    """What the browser asks of any host goes to `app` as it is."""

    def hand(route):
        asked, place = route.request, urlsplit(route.request.url)
        headers = {
            name: value for name, value in asked.headers.items() if name in ("content-type", "accept", "x-api-key")
        }
        path = place.path + (f"?{place.query}" if place.query else "")
        given = app.request(asked.method, path, content=asked.post_data_buffer, headers=headers)
        route.fulfill(status=given.status_code, headers=dict(given.headers), body=given.content)

    return hand


def photo(data: bytes, name: str = "leaf.jpg") -> dict:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def dragged(page, x1, y1, x2, y2, size=(320, 200)):
    """Over the photo, in its pixels."""
    frame = page.locator("#photo").bounding_box()
    across, down = frame["width"] / size[0], frame["height"] / size[1]
    page.mouse.move(frame["x"] + x1 * across, frame["y"] + y1 * down)
    page.mouse.down()
    page.mouse.move(frame["x"] + (x1 + x2) / 2 * across, frame["y"] + y2 * down)
    page.mouse.move(frame["x"] + x2 * across, frame["y"] + y2 * down)
    page.mouse.up()


def touched(page, *moments):
    """Where each finger is on the photo at each of them, in shares of it."""
    frame, session, before = page.locator("#photo").bounding_box(), page.context.new_cdp_session(page), 0
    for moment in moments:
        points = [{"x": frame["x"] + x * frame["width"], "y": frame["y"] + y * frame["height"], "id": number}
                  for number, (x, y) in enumerate(moment)]  # fmt: skip
        kind = "touchStart" if len(points) > before else "touchMove" if points else "touchEnd"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        before = len(points)
