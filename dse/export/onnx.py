"""ONNX: opset 21, IR 10, written with the `onnx` package.

Maps are (batch, channels, height, width) with a symbolic batch. The input is `images`: float32,
scaled; or with preprocessing uint8 (batch, height, width, channels) pixels, RGB or gray. The
output is `scores`: float32 (batch, classes).

In int8 every map and array stands between QuantizeLinear and DequantizeLinear (QDQ), which
runtimes fuse into integer operators.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dse.architecture.primitives import (
    Add,
    Conv,
    Dense,
    GlobalAveragePool,
    Join,
    LocalResponseNorm,
    MaxPool,
)
from dse.errors import ExportError
from dse.export.packages import need
from dse.inference.graph import Graph, Operator
from dse.inference.int8 import Int8Graph

OPSET, IR_VERSION = 21, 10


def onnx_model(graph: Graph, int8: Int8Graph | None = None) -> bytes:
    """The file of a network.

    Args:
        graph: the network.
        int8: the same in int8; None writes float32.

    Raises:
        ExportError: an operator that ONNX cannot hold, or the package `onnx` is missing.
    """
    need("onnx")
    import onnx
    from onnx import TensorProto, helper

    writer = _Writer(int8)
    height, width, channels = graph.metadata.input_shape
    if graph.with_preprocessing:
        kind, shape = TensorProto.UINT8, ["batch", height, width, channels]
        pixels = writer.add("Transpose", "pixels", ["images"], perm=[0, 3, 1, 2])
        if int8:
            names = [writer.dequantized("pixels/real", pixels, 1.0, np.uint8(0))]
        else:
            names = [writer.add("Cast", "pixels/real", [pixels], to=TensorProto.FLOAT)]
    else:
        kind, shape = TensorProto.FLOAT, ["batch", channels, height, width]
        names = [writer.rounded("images", 0)]
    given = helper.make_tensor_value_info("images", kind, shape)
    for at, op in enumerate(graph.operators, start=1):
        names.append(writer.rounded(writer.operator(at, op, [names[i] for i in op.inputs]), at))
    writer.add("Flatten", "scores", [names[-1]], axis=1)
    scores = helper.make_tensor_value_info(
        "scores", TensorProto.FLOAT, ["batch", len(graph.metadata.classes)]
    )
    body = helper.make_graph(
        writer.nodes, graph.metadata.family, [given], [scores], writer.initializers
    )
    model = helper.make_model(
        body,
        producer_name="dse",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    described = {
        "dse": json.dumps(graph.metadata.to_dict()),
        "classes": json.dumps(graph.metadata.classes),
    }
    helper.set_model_props(model, described)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Writer:
    """Collects nodes and initializers."""

    def __init__(self, int8: Int8Graph | None) -> None:
        self.int8 = int8
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, kind: str, result: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [result], result, **attributes))
        return result

    def array(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def dequantized(
        self, result: str, given: str, scale: Any, zero_point: Any, **attributes: Any
    ) -> str:
        """Append the real values of quantized ones."""
        inputs = [
            given,
            self.array(f"{result}/scale", np.asarray(scale, np.float32)),
            self.array(f"{result}/zero_point", np.asarray(zero_point)),
        ]
        return self.add("DequantizeLinear", result, inputs, **attributes)

    def rounded(self, name: str, at: int) -> str:
        """Append the rounding of map number `at` to int8 and back; in float32 nothing."""
        if self.int8 is None:
            return name
        scale = self.int8.scales[at]
        parts = [np.float32(scale.scale), np.int8(scale.zero_point)]
        inputs = [self.array(f"{name}/int8/{i}", np.asarray(part)) for i, part in enumerate(parts)]
        self.add("QuantizeLinear", f"{name}/int8", [name, *inputs])
        return self.dequantized(f"{name}/real", f"{name}/int8", *parts)

    def operator(self, at: int, op: Operator, inputs: list[str]) -> str:
        """Append what `op` does; gives the name of its result."""
        match op.primitive:
            case Conv() | Dense():
                return self._convolution(at, op, inputs[0])
            case MaxPool(window=window, stride=stride):
                (height, width, _), (rows, columns, _) = op.input_shape, op.output_shape
                # Caffe's last window hangs over the far edge.
                over = [
                    max((count - 1) * stride + window - size, 0)
                    for count, size in ((rows, height), (columns, width))
                ]
                return self.add(
                    "MaxPool",
                    op.name,
                    inputs,
                    kernel_shape=[window, window],
                    dilations=[1, 1],
                    strides=[stride, stride],
                    pads=[0, 0, *over],
                )
            case GlobalAveragePool():
                return self.add("GlobalAveragePool", op.name, inputs)
            case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
                return self.add("LRN", op.name, inputs, size=size, alpha=alpha, beta=beta, bias=k)
            case Add():
                return self.add("Add", op.name, inputs)
            case Join():
                return self.add("Concat", op.name, inputs, axis=1)
        raise ExportError(f"{op.name}: {op.primitive.summary} has no form in ONNX")

    def _convolution(self, at: int, op: Operator, given: str) -> str:
        assert op.kernel is not None
        assert op.bias is not None
        if self.int8 is None:
            kernel = self.array(f"{op.name}/kernel", op.kernel.transpose(3, 2, 0, 1))
            bias = self.array(f"{op.name}/bias", op.bias)
        else:
            own = self.int8.convolutions[at]
            scales = own.kernel_scales
            zeros = np.zeros(len(scales), np.int8)
            stored = self.array(f"{op.name}/kernel/int8", own.kernel.transpose(3, 2, 0, 1))
            kernel = self.dequantized(f"{op.name}/kernel", stored, scales, zeros, axis=0)
            units = np.float32(self.int8.scales[op.inputs[0]].scale) * scales
            stored = self.array(f"{op.name}/bias/int32", own.bias)
            bias = self.dequantized(
                f"{op.name}/bias", stored, units, zeros.astype(np.int32), axis=0
            )
        result = f"{op.name}/linear" if op.is_relu else op.name
        self.add(
            "Conv",
            result,
            [given, kernel, bias],
            kernel_shape=list(op.kernel.shape[:2]),
            dilations=[1, 1],  # the default, which hls4ml's reader wants to see
            strides=[op.stride, op.stride],
            pads=[op.padding] * 4,
            group=op.groups,
        )
        return self.add("Relu", op.name, [result]) if op.is_relu else op.name
