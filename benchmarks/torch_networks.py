"""Our networks in PyTorch, layer by layer from the same `Architecture`; for benchmarks only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dse.architecture import Architecture
from dse.architecture.primitives import (
    BATCH_NORM_EPSILON,
    Conv,
    Dense,
    Dropout,
    Fire,
    GlobalAveragePool,
    MaxPool,
)


class TorchConv(nn.Module):
    """Convolution, then bias or batch norm, then activation."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            conv.input_shape[2],
            conv.filters,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
            bias=conv.norm == "none",
        )
        is_batch = conv.norm == "batch"
        self.norm = nn.BatchNorm2d(conv.filters, eps=BATCH_NORM_EPSILON) if is_batch else None
        self.is_relu = conv.activation == "relu"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) to (batch, filters, …)."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return torch.relu_(x) if self.is_relu else x


class TorchFire(nn.Module):
    """A fire module with its bypass."""

    def __init__(self, fire: Fire) -> None:
        super().__init__()
        self.squeeze = TorchConv(fire.squeeze_conv)
        self.expand1x1 = TorchConv(fire.expand1x1_conv)
        self.expand3x3 = TorchConv(fire.expand3x3_conv)
        self.bypass = TorchConv(fire.bypass_conv) if fire.bypass_conv else None
        self.is_simple = fire.bypass == "simple"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) to (batch, expand, height, width)."""
        squeezed = self.squeeze(x)
        y = torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1)
        if self.bypass is not None:
            return y + self.bypass(x)
        return y + x if self.is_simple else y


def torch_network(architecture: Architecture) -> nn.Module:
    """The network, channels last.

    Raises:
        TypeError: a layer that has no counterpart here.
    """
    modules: list[Any] = []
    for layer in architecture.layers:
        match layer:
            case Conv():
                modules.append(TorchConv(layer))
            case Fire():
                modules.append(TorchFire(layer))
            case MaxPool(window=window, stride=stride, rounding=rounding):
                modules.append(nn.MaxPool2d(window, stride, ceil_mode=rounding == "ceil"))
            case GlobalAveragePool():
                modules.append(nn.AdaptiveAvgPool2d(1))
            case Dropout(rate=rate):
                modules.append(nn.Dropout(rate))
            case Dense():
                modules += [nn.Flatten(), nn.LazyLinear(layer.features)]
                modules += [nn.ReLU(inplace=True)] * (layer.activation == "relu")
                modules.append(nn.Unflatten(1, (layer.features, 1, 1)))
            case _:
                raise TypeError(f"{layer.name} has no counterpart in PyTorch here")
    modules.append(nn.Flatten())
    return nn.Sequential(*modules).to(memory_format=torch.channels_last)


def params_count(network: nn.Module) -> int:
    """Trained numbers."""
    return sum(tensor.numel() for tensor in network.parameters())


def make_optimizer(
    network: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; kernels alone are decayed."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": others}]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=True)
