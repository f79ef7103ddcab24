"""ONNX: opset 21, IR 10, written with the `onnx` package.

Maps are (batch, channels, height, width) with a symbolic batch. The input is `images`: float32,
scaled; or with preprocessing uint8 (batch, height, width, channels) pixels, RGB or gray. The
output is `scores`: float32 (batch, classes).
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
from dse.export.graph import Graph, Operator
from dse.export.packages import need

OPSET, IR_VERSION = 21, 10


def onnx_model(graph: Graph) -> bytes:
    """The file of a network.

    Raises:
        ExportError: an operator that ONNX cannot hold, or the package `onnx` is missing.
    """
    need("onnx")
    import onnx
    from onnx import TensorProto, helper

    writer = _Writer()
    count, (height, width, channels) = "batch", graph.metadata.input_shape
    if graph.with_preprocessing:
        given = helper.make_tensor_value_info(
            "images", TensorProto.UINT8, [count, height, width, channels]
        )
        pixels = writer.add("Cast", "pixels", ["images"], to=TensorProto.FLOAT)
        names = [writer.add("Transpose", "pixels_nchw", [pixels], perm=[0, 3, 1, 2])]
    else:
        given = helper.make_tensor_value_info(
            "images", TensorProto.FLOAT, [count, channels, height, width]
        )
        names = ["images"]
    for op in graph.operators:
        names.append(writer.operator(op, [names[i] for i in op.inputs]))
    writer.add("Flatten", "scores", [names[-1]], axis=1)
    scores = helper.make_tensor_value_info(
        "scores", TensorProto.FLOAT, [count, len(graph.metadata.classes)]
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

    def __init__(self) -> None:
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

    def operator(self, op: Operator, inputs: list[str]) -> str:
        """Append what `op` does; gives the name of its result."""
        match op.primitive:
            case Conv() | Dense():
                return self._convolution(op, inputs[0])
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

    def _convolution(self, op: Operator, given: str) -> str:
        assert op.kernel is not None
        assert op.bias is not None
        result = f"{op.name}/linear" if op.is_relu else op.name
        self.add(
            "Conv",
            result,
            [
                given,
                self.array(f"{op.name}/kernel", op.kernel.transpose(3, 2, 0, 1)),
                self.array(f"{op.name}/bias", op.bias),
            ],
            kernel_shape=list(op.kernel.shape[:2]),
            strides=[op.stride, op.stride],
            pads=[op.padding] * 4,
            group=op.groups,
        )
        return self.add("Relu", op.name, [result]) if op.is_relu else op.name
