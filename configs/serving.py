"""How a system is served."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.access import AccessConfig
from configs.keeping import KeepingConfig
from vision.settings import Section

EngineName = Literal["auto", "openvino", "onnxruntime", "torch"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]


class ServingConfig(Section):
    top_k: Annotated[int, Field(ge=1, le=100)] = 3
    """Labels in an answer, unless the request says `?top_k=`."""
    engine: EngineName = "auto"
    """`auto`: torch where it is installed and sees a GPU, else OpenVINO, else ONNX Runtime."""
    precision: Precision = "auto"
    """`auto`: bfloat16 where the device computes in it and the package agreed in it with the trained network, else float32.
    `int8` by name or by a tuned profile."""
    batching: Literal["adaptive", "bentoml"] = "adaptive"
    """`adaptive`: whatever waits when the engine becomes free. `bentoml`: BentoML's own dispatcher, to compare."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 16
    max_queue: Annotated[int, Field(ge=1, le=4096)] = 40
    """Images that one worker has accepted and not answered; the next request gets 429."""
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Server processes; 0: one for each core on a CPU."""
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Inference threads of one worker; 0: the cores shared out among the workers."""
    decode_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads of one worker that decode; large images have threads of their own."""
    features_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The part of a core's time in which one worker describes images for its records; beyond that records have no
    features (null). Describing an image costs as much as a small network's answer; drift needs hundreds of rows, not all."""
    request_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """From a request's whole body (see `access.body_timeout_s`) to its answer; a later one is 503."""
    max_images: Annotated[int, Field(ge=1, le=256)] = 16
    """Parts `file` of one request."""
    max_body_mib: Annotated[float, Field(gt=0)] = 20.0
    max_buffered_mib: Annotated[float, Field(gt=0)] = 512.0
    """Bodies that one worker holds in memory at a time; past it a request gets 429."""
    max_megapixels: Annotated[float, Field(gt=0)] = 50.0

    access: AccessConfig = AccessConfig()
    keeping: KeepingConfig = KeepingConfig()
    release_poll_s: Annotated[float, Field(ge=0.1, le=3600)] = 2.0
    """How often a worker looks for a new release."""
    shadow_time: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Part of a worker's time that a challenger in shadow may take; images beyond it are not compared."""

    @model_validator(mode="after")
    def a_request_fits_the_queue(self):
        if self.max_images > self.max_queue:
            raise ValueError(f"max_queue must hold a whole request: {self.max_queue} < max_images = {self.max_images}")
        if self.max_body_mib > self.max_buffered_mib:
            raise ValueError(
                f"max_buffered_mib must hold a whole body: {self.max_buffered_mib} < max_body_mib = {self.max_body_mib}"
            )
        return self
