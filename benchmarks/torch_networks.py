"""Our networks in PyTorch, node by node from the same `Architecture`; for benchmarks only."""

from __future__ import annotations

import torch
from torch import nn

from dse.architecture import Architecture, Node, primitives
from dse.architecture.primitives import BATCH_NORM_EPSILON, Conv


class TorchConv(nn.Module):
    """Convolution, then bias or batch norm, then activation."""

    def __init__(self, conv: Conv, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels,
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


class TorchNetwork(nn.Module):
    """The graph of an architecture, node by node."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.inputs = [node.inputs for node in architecture.graph]
        self.modules_in_order = nn.ModuleList(map(_module, architecture.graph))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) to (batch, classes)."""
        maps = [x]
        for inputs, module in zip(self.inputs, self.modules_in_order, strict=True):
            maps.append(module(*(maps[i] for i in inputs)))
        return maps[-1].flatten(1)


class Add(nn.Module):
    """The sum of two maps."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width), both."""
        return x + y


class Join(nn.Module):
    """The channels of several maps."""

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width), of any channels."""
        return torch.cat(maps, 1)


def _module(node: Node) -> nn.Module:
    match node.primitive:
        case primitives.Conv():
            return TorchConv(node.primitive, node.input_shape[2])
        case primitives.MaxPool(window=window, stride=stride, rounding=rounding):
            return nn.MaxPool2d(window, stride, ceil_mode=rounding == "ceil")
        case primitives.GlobalAveragePool():
            return nn.AdaptiveAvgPool2d(1)
        case primitives.Dropout(rate=rate):
            return nn.Dropout(rate)
        case primitives.Add():
            return Add()
        case primitives.Join():
            return Join()
        case primitives.Dense(features=features, activation=activation):
            relu = [nn.ReLU(inplace=True)] * (activation == "relu")
            linear = nn.LazyLinear(features)
            return nn.Sequential(nn.Flatten(), linear, *relu, nn.Unflatten(1, (features, 1, 1)))
    raise TypeError(f"{node.name} has no counterpart in PyTorch here")


def torch_network(architecture: Architecture) -> nn.Module:
    """The network, channels last.

    Raises:
        TypeError: a primitive that has no counterpart here.
    """
    return TorchNetwork(architecture).to(memory_format=torch.channels_last)


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
