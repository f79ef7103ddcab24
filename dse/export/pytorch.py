"""PyTorch: a plain `model.py` and its weights as safetensors, kernels in PyTorch's order.

Modules are numbered as torchvision numbers those of its SqueezeNets and AlexNet, so that the
weights of those presets load there as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from dse.architecture import build
from dse.architecture.primitives import (
    Add,
    Conv,
    Dense,
    Dropout,
    GlobalAveragePool,
    Join,
    LocalResponseNorm,
    MaxPool,
)
from dse.errors import ExportError
from dse.inference.graph import PREPROCESSING, Graph, Operator


def pytorch_files(graph: Graph, out: Path) -> dict[Path, bytes]:
    """The files of a network.

    Args:
        graph: the network.
        out: the `.py` file; the weights lie beside it.

    Raises:
        ExportError: an operator that this module does not know.
    """
    places = {PREPROCESSING: (PREPROCESSING,)} | _places(graph)
    weights = out.with_suffix(".safetensors")
    tensors: dict[str, np.ndarray] = {}
    for op in graph.operators:
        if op.kernel is not None and op.bias is not None:
            kernel = op.kernel.transpose(3, 2, 0, 1)
            if isinstance(op.primitive, Dense):
                kernel = kernel.reshape(len(kernel), -1)
            path = ".".join(places[op.name])
            tensors[f"{path}.weight"] = np.ascontiguousarray(kernel)
            tensors[f"{path}.bias"] = op.bias
    return {out: _source(graph, places, weights.name).encode(), weights: save(tensors)}


def _places(graph: Graph) -> dict[str, tuple[str, ...]]:
    """By an operator's name the path of its module: ("features", "3", "squeeze")."""
    metadata = graph.metadata
    layers = build(metadata.candidate, metadata.input_shape, len(metadata.classes)).layers
    heads = [i for i, layer in enumerate(layers) if isinstance(layer.block, Dense)]
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer.block, Conv)]
    start = heads[0] if heads else convolutions[-1]
    if isinstance(layers[start - 1].block, Dropout):
        start -= 1
    places: dict[str, tuple[str, ...]] = {}
    count = 0
    for i, layer in enumerate(layers):
        if i == start:
            count = 0
        part = "classifier" if i >= start else "features"
        for node in layer.nodes:
            places[node.name] = (part, str(count), *node.name.split("/")[1:])
        # torchvision counts the activation behind a convolution as a module.
        count += 2 if getattr(layer.block, "activation", "none") == "relu" else 1
    return places


def _source(graph: Graph, places: dict[str, tuple[str, ...]], weights_name: str) -> str:
    metadata, rule = graph.metadata, graph.metadata.preprocessing
    height, width, channels = metadata.input_shape
    modules: dict[str, dict[str, object]] = {}
    steps = ["m0 = images"]
    for at, op in enumerate(graph.operators, start=1):
        given = [f"m{i}" for i in op.inputs]
        if op.kernel is not None:
            path = places[op.name]
            holder = modules
            for name in path[:-1]:
                holder = holder.setdefault(name, {})  # type: ignore[assignment]
            holder[path[-1]] = _module(op)  # type: ignore[assignment]
            call = "self" + f".{path[0]}" + "".join(f'["{name}"]' for name in path[1:])
            flat = f"{given[0]}.flatten(1)" if isinstance(op.primitive, Dense) else given[0]
            value = f"{call}({flat})"
            steps.append(f"m{at} = {f'functional.relu({value})' if op.is_relu else value}")
        else:
            steps.append(f"m{at} = {_call(op, given)}")
    steps.append(f"return m{len(graph.operators)}.flatten(1)")
    if graph.with_preprocessing:
        steps[0] = "m0 = images.permute(0, 3, 1, 2).float()"
        takes = f"uint8 (batch, {height}, {width}, {channels}) pixels, RGB or gray"
    else:
        takes = f"float32 (batch, {channels}, {height}, {width}), as `preprocess` gives it"
    lines = [f"self.{name} = {_nested(value, 8)}" for name, value in modules.items()]
    join = "\n        ".join
    order = "[..., [2, 1, 0]]" if rule.channel_order == "bgr" else ""
    return f'''"""{metadata.family} {metadata.candidate.key}; written by dse export.

    network = load()
    scores = network({"images" if graph.with_preprocessing else "preprocess(images)"})
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

CLASSES = {list(metadata.classes)!r}


class Network(nn.Module):
    """Takes {takes}; gives scores (batch, {len(metadata.classes)})."""

    def __init__(self):
        super().__init__()
        {join(lines)}

    def forward(self, images):
        {join(steps)}


def preprocess(images):
    """The network's input of uint8 (batch, {height}, {width}, {channels}) pixels, RGB or gray."""
    values = images{order}.float() * {rule.scale / 255!r}
    values = (values - torch.tensor({list(rule.mean)!r})) / torch.tensor({list(rule.std)!r})
    return values.permute(0, 3, 1, 2)


def load(path=Path(__file__).with_name("{weights_name}")):
    """The network with its weights."""
    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()
'''


def _module(op: Operator) -> str:
    assert op.kernel is not None
    height, _, depth, filters = op.kernel.shape
    if isinstance(op.primitive, Dense):
        return f"nn.Linear({op.kernel[..., 0].size}, {filters})"
    options = [f"{depth * op.groups}, {filters}, {height}"]
    for name, value, usual in (
        ("stride", op.stride, 1),
        ("padding", op.padding, 0),
        ("groups", op.groups, 1),
    ):
        if value != usual:
            options.append(f"{name}={value}")
    return f"nn.Conv2d({', '.join(options)})"


def _call(op: Operator, given: list[str]) -> str:
    match op.primitive:
        case MaxPool(window=window, stride=stride, rounding=rounding):
            mode = ", ceil_mode=True" if rounding == "ceil" else ""
            return f"functional.max_pool2d({given[0]}, {window}, {stride}{mode})"
        case GlobalAveragePool():
            return f"{given[0]}.mean((2, 3), keepdim=True)"
        case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
            return f"functional.local_response_norm({given[0]}, {size}, {alpha}, {beta}, {k})"
        case Add():
            return " + ".join(given)
        case Join():
            return f"torch.cat([{', '.join(given)}], 1)"
    raise ExportError(f"{op.name}: {op.primitive.summary} has no form in PyTorch here")


def _nested(value: object, indent: int) -> str:
    if not isinstance(value, dict):
        return str(value)
    inner = " " * (indent + 4)
    lines = [f'{inner}"{name}": {_nested(part, indent + 4)},' for name, part in value.items()]
    return "\n".join(["nn.ModuleDict({", *lines, " " * indent + "})"])
