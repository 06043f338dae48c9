"""What the clients of `benchmarks.soak` ask for, each kind a coroutine that says what came of it: a status or `left`."""

import asyncio
import contextlib
import io
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cached_property

import aiohttp
import numpy as np

JPEG = {"Content-Type": "image/jpeg"}
LEFT = "left"
PIECES, PAUSE_S = 5, 0.2
HUGE_PX = 6000
OVER_MIB = 21
"""More than `serving.max_body_mib` allows."""


@dataclass
class Traffic:
    """url and key of the service; images that it can answer, and a label that it knows; ids that it gave."""

    url: str
    key: dict[str, str]
    images: list[bytes]
    label: str
    ids: deque = field(default_factory=lambda: deque(maxlen=100))

    def image(self, rng: np.random.Generator) -> bytes:
        return self.images[rng.integers(len(self.images))]

    @cached_property
    def huge(self) -> bytes:
        """36 megapixels in 100 KB."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("L", (HUGE_PX, HUGE_PX), 90).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


async def good(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    async with session.post(f"{traffic.url}/predict", data=traffic.image(rng), headers=JPEG | traffic.key) as answer:
        if answer.status == 200:
            traffic.ids.append((await answer.json())["prediction_id"])
        return str(answer.status)


async def several(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    """Good images with a bad one among them."""
    form = aiohttp.FormData()
    for data in (traffic.image(rng), b"no image", traffic.image(rng)):
        form.add_field("file", data, filename="x.jpg")
    return await _post(session, traffic, "/predict", form)


async def bad(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    whole = traffic.image(rng)
    data = (rng.bytes(2000), whole[: len(whole) // 2], b"", b"\xff\xd8\xff" + rng.bytes(500))[rng.integers(4)]
    return await _post(session, traffic, "/predict", data, JPEG)


async def wrong(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    """No key, no such path, a type that is no image, a body that is too large."""
    which = rng.integers(4)
    if which == 0:
        async with session.post(f"{traffic.url}/predict", data=b"x", headers=JPEG) as answer:
            return str(answer.status)
    if which == 1:
        return await _post(session, traffic, f"/no-such-path/{rng.integers(10**9)}", b"x")
    if which == 2:
        return await _post(session, traffic, "/predict", b"{}", {"Content-Type": "application/json"})
    # The server answers and closes before it has read it all.
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        await _post(session, traffic, "/predict", bytes(OVER_MIB * 2**20), JPEG)
    return "413 or closed"


async def huge(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    return await _post(session, traffic, "/predict", traffic.huge, {"Content-Type": "image/png"})


async def leaves(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    """Before the answer comes."""
    asked = asyncio.create_task(good(session, traffic, rng))
    await asyncio.sleep(float(rng.uniform(0, 0.02)))
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await asked
    return LEFT


async def half(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    """Promises a whole image and leaves in the middle of it."""
    host, port = traffic.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    data, [(name, key)] = traffic.image(rng), traffic.key.items()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{name}: {key}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data[: len(data) // 2])
    await writer.drain()
    await asyncio.sleep(float(rng.uniform(0, 0.1)))
    writer.close()
    return LEFT


async def slow(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    data = traffic.image(rng)

    async def pieces() -> AsyncIterator[bytes]:
        step = -(-len(data) // PIECES)
        for start in range(0, len(data), step):
            yield data[start : start + step]
            await asyncio.sleep(PAUSE_S)

    return await _post(session, traffic, "/predict", pieces(), JPEG)


async def feedback(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    if not traffic.ids:
        return await good(session, traffic, rng)
    content = {"id": traffic.ids[rng.integers(len(traffic.ids))], "label": traffic.label}
    async with session.post(f"{traffic.url}/feedback", json=content, headers=traffic.key) as answer:
        return str(answer.status)


async def explain(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    return await _post(session, traffic, "/explain", traffic.image(rng), JPEG)


async def look(session: aiohttp.ClientSession, traffic: Traffic, rng: np.random.Generator) -> str:
    path = ("/", "/health", "/metrics", "/model/version", "/openapi.json")[rng.integers(5)]
    async with session.get(f"{traffic.url}{path}", headers=traffic.key) as answer:
        await answer.read()
        return str(answer.status)


async def _post(session: aiohttp.ClientSession, traffic: Traffic, path: str, data, headers=None) -> str:
    async with session.post(f"{traffic.url}{path}", data=data, headers=(headers or {}) | traffic.key) as answer:
        await answer.read()
        return str(answer.status)


SHARES = {
    good: 50, several: 8, bad: 10, wrong: 6, huge: 1, leaves: 8, half: 4, slow: 3, feedback: 5, explain: 2, look: 3,
}  # fmt: skip
ASKS = {ask.__name__: ask for ask in SHARES}
WEIGHTS = np.array(list(SHARES.values())) / sum(SHARES.values())
