"""A torch module as an ONNX file: uint8 images in, named outputs, any batch size; equal weights give equal bytes."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import torch

INPUT = "images"
EXAMPLE_BATCH = 2
"""A batch of one would be baked into the graph."""


def export_onnx(module: "torch.nn.Module", side_px: int, outputs: Sequence[str], path: Path) -> None:
    """Writes `module`, uint8 [N, side_px, side_px, 3] -> one tensor for each name of `outputs`, to `path`, checked.

    The module is put into eval mode. Raises `onnx.checker.ValidationError` when the graph breaks ONNX's rules.
    """
    import onnx
    import torch

    module = module.eval()
    device = next(iter(module.parameters())).device
    example = torch.zeros((EXAMPLE_BATCH, side_px, side_px, 3), dtype=torch.uint8, device=device)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=[INPUT],
            output_names=list(outputs),
            verbose=False,
        )
    model = program.model_proto
    forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def forget_origin(model: "onnx.ModelProto") -> None:
    """Removes what the exporter notes of this machine (stack traces, file names): it would move the package's hash."""
    for scope in (model, model.graph, *model.functions):
        del scope.metadata_props[:]
    for graph in (model.graph, *model.functions):
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
            part.doc_string = ""
    for tensor in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    model.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress lines and opset warnings off the terminal; errors still raise."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
