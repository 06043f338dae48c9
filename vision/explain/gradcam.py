"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) in closed form, for networks with average pooling and a head.

With A the last feature map [N, D, h, w], p = mean of A over h and w, and logits = head(p), the gradient of logit k at
every place of channel d is (d logit_k / d p_d) / (h w). Grad-CAM's channel weight is their mean, the same number,
so the heatmap of class k is ReLU(sum_d (d logit_k / d p_d) A_d) / (h w): no backward pass, so it fits into ONNX.
"""

import torch
from torch import Tensor, nn


def heatmaps(features: Tensor, jacobian: Tensor) -> Tensor:
    """features [N, D, h, w], jacobian [N, K, D] -> Grad-CAM of each class, float [N, K, h, w], >= 0."""
    places = features.shape[2] * features.shape[3]
    return torch.relu(torch.einsum("nkd,ndhw->nkhw", jacobian, features)) / places


def head_jacobian(head: nn.Module, pooled: Tensor) -> Tensor:
    """d logits / d pooled at `pooled` [N, D] -> [N, K, D]. Dropout counts as off.

    Heads known: Linear; and Linear, activation, Linear. Raises `TypeError` for any other.
    """
    layers = [layer for layer in _flat(head) if not isinstance(layer, nn.Dropout | nn.Identity | nn.Flatten)]
    match layers:
        case [nn.Linear() as last]:
            return last.weight.unsqueeze(0).expand(pooled.shape[0], -1, -1)
        case [nn.Linear() as first, activation, nn.Linear() as last]:
            slope = activation_slope(activation, first(pooled))
            return torch.einsum("kh,nh,hd->nkd", last.weight, slope, first.weight)
    names = ", ".join(type(layer).__name__ for layer in layers)
    raise TypeError(f"no closed form for the head ({names}); known: Linear, or Linear-activation-Linear")


def activation_slope(activation: nn.Module, inputs: Tensor) -> Tensor:
    """The derivative of `activation` at `inputs`, same shape. Raises `TypeError` for one that is not known here."""
    match activation:
        case nn.ReLU():
            return (inputs > 0).to(inputs.dtype)
        case nn.SiLU():
            gate = torch.sigmoid(inputs)
            return gate * (1 + inputs * (1 - gate))
        case nn.Hardswish():
            middle = (2 * inputs + 3) / 6
            return torch.where(inputs <= -3, 0.0, torch.where(inputs >= 3, 1.0, middle))
    raise TypeError(f"no derivative for activation {type(activation).__name__}; known: ReLU, SiLU, Hardswish")


def _flat(module: nn.Module) -> list[nn.Module]:
    """The layers of a head in order; a head may be one layer or nested Sequentials."""
    if not isinstance(module, nn.Sequential):
        return [module]
    return [layer for child in module for layer in _flat(child)]
