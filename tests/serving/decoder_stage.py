"""A decoder and a batcher on a stage of their own, in a fresh event loop."""

import asyncio

from bentos.batching.batcher import Batcher
from bentos.batching.decoder import Decoder
from tests.serving.batcher_stage import PATIENCE_S
from vision.package import InputSpec

INPUT = InputSpec(side_px=32, resize_px=40)
UNSAMPLED = 0


class Stage:
    """A decoder and a batcher that work together as a predictor has them."""

    def __init__(self, run=None, features_share: float = UNSAMPLED, beside: bool = False, places: int = 48) -> None:
        self.decoder = Decoder(1, 50, places, features_share, beside)
        self.batcher = Batcher(run or (lambda images: {"sum": images.sum((1, 2, 3))}), 16, 100)

    async def ask(self, data: bytes):
        """What was decoded, what the engine said, and the model's input."""
        with self.batcher.reserve() as place:
            decoded = await self.decoder.fill(place, data, INPUT)
            return decoded, await place.answer, place.image


def play(stage: Stage, scene):
    async def main():
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await scene(stage)
        finally:
            await stage.batcher.close()
            stage.decoder.close()

    return asyncio.run(main())


def asked_together(*images: bytes):
    async def scene(stage: Stage):
        return await asyncio.gather(*(stage.ask(data) for data in images), return_exceptions=True)

    return scene
