"""`explain.onnx`: logits and the Grad-CAM heatmap of every class in one forward pass."""

from torch import Tensor, nn

from vision.explain.gradcam import head_jacobian, heatmaps
from vision.models.network import ServedModel

OUTPUTS = ("logits", "heatmaps")


class ExplainModel(nn.Module):
    """images uint8 [N, H, W, 3] -> (logits [N, K], heatmaps float [N, K, h, w], >= 0).

    normalise: uint8 [N, H, W, 3] -> float [N, 3, H, W]. features: that -> the last feature map [N, D, h, w].
    head: pooled [N, D] -> logits [N, K]; between them lies global average pooling.
    """

    def __init__(self, normalise: nn.Module, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.normalise, self.features, self.head = normalise, features, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(self.normalise(images))
        pooled = features.mean(dim=(2, 3))
        return self.head(pooled), heatmaps(features, head_jacobian(self.head, pooled))


def explain_model(served: ServedModel) -> ExplainModel:
    """The explaining twin of a trained classifier; it shares its weights. The network has a `backbone` and a `head`."""
    return ExplainModel(served.normalise, served.network.backbone, served.network.head)
