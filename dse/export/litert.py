"""LiteRT (`.tflite`), float32 or int8, written with the packages `tflite` and `flatbuffers`.

Maps are (batch, height, width, channels); the batch is 1 and can be resized. The input is
`images`: float32, scaled; in int8 the same in the file's input scale; with preprocessing uint8
pixels, RGB or gray. The output `scores` is (batch, classes), float32 or int8.

Format: `tensorflow/compiler/mlir/lite/schema/schema.fbs`, version 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from dse.architecture import Shape
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
from dse.inference.int8 import Int8Graph, Scale

SCHEMA_VERSION = 3
_ALIGNMENT = 16  # of the arrays in the file, in bytes
_TYPES = {"float32": "FLOAT32", "int8": "INT8", "uint8": "UINT8", "int32": "INT32"}
_INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "ADD": 2,
    "CONCATENATION": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
}
"""Of the operators that a file names, the first that knows int8."""


def litert_model(graph: Graph, int8: Int8Graph | None = None) -> bytes:
    """The file of a network.

    Args:
        graph: the network.
        int8: the same in int8; None writes float32.

    Raises:
        ExportError: an operator that LiteRT cannot hold, or a package is missing.
    """
    need("tflite", "flatbuffers")
    writer = _Writer(graph, int8)
    for at, op in enumerate(graph.operators, start=1):
        writer.operator(at, op)
    classes_count = len(graph.metadata.classes)
    scores = writer.tensor(
        "scores", (1, classes_count), writer.kind, writer.scale(len(graph.operators))
    )
    shape = writer.constant("scores/shape", np.array([-1, classes_count], np.int32))
    writer.add("RESHAPE", [writer.maps[-1], shape], scores, "Reshape")
    return writer.file(scores)


class _Writer:
    """Collects tensors, buffers and operators in a flatbuffer."""

    def __init__(self, graph: Graph, int8: Int8Graph | None) -> None:
        import flatbuffers

        self.builder = flatbuffers.Builder(4 * graph.params_count + 65536)
        self.graph, self.int8 = graph, int8
        self.kind = "float32" if int8 is None else "int8"
        self.buffers = [self.buffer(b"")]  # the first has to be empty
        self.tensors: list[int] = []
        self.codes: list[str] = []
        self.operators: list[int] = []
        shape = (1, *graph.metadata.input_shape)
        if not graph.with_preprocessing:
            self.maps = [self.tensor("images", shape, self.kind, self.scale(0))]
            return
        pixels = Scale(1.0, 0) if int8 else None
        images = self.tensor("images", shape, "uint8", pixels)
        self.maps = [self.tensor("pixels", shape, self.kind, self.scale(0))]
        self.add("QUANTIZE" if int8 else "CAST", [images], self.maps[0])

    def scale(self, at: int) -> Scale | None:
        """Of a map."""
        return self.int8.scales[at] if self.int8 else None

    def operator(self, at: int, op: Operator) -> None:
        """Append what `op` does; its result is one more of `maps`."""
        given = [self.maps[i] for i in op.inputs]
        match op.primitive:
            case Conv() | Dense():
                self._convolution(at, op, given[0])
            case MaxPool(window=window, stride=stride):
                low = -128.0 if self.int8 else float(np.finfo(np.float32).min)
                x, padding = self._padded(op, given[0], (window, window), stride, 0, low)
                options = {"Padding": padding, "StrideW": stride, "StrideH": stride}
                options |= {"FilterWidth": window, "FilterHeight": window}
                self.add("MAX_POOL_2D", [x], self._result(at, op), "Pool2D", **options)
            case GlobalAveragePool():
                axes = self.constant(f"{op.name}/axes", np.array([1, 2], np.int32))
                self.add("MEAN", [given[0], axes], self._result(at, op), "Reducer", KeepDims=True)
            case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
                lrn: dict[str, Any] = {
                    "Radius": size // 2,
                    "Bias": k,
                    "Alpha": alpha / size,
                    "Beta": beta,
                }
                kind = "LOCAL_RESPONSE_NORMALIZATION"
                result = self._result(at, op)
                self.add(kind, given, result, "LocalResponseNormalization", **lrn)
            case Add():
                self.add("ADD", given, self._result(at, op), "Add")
            case Join():
                self.add("CONCATENATION", given, self._result(at, op), "Concatenation", Axis=3)
            case _:
                raise ExportError(f"{op.name}: {op.primitive.summary} has no form in LiteRT")

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        scale: Scale | None = None,
        *,
        buffer: int = 0,
        scales: np.ndarray | None = None,
        axis: int = 0,
    ) -> int:
        """Append a tensor; gives its number.

        Args:
            name: of it.
            shape: of it.
            kind: numpy's name of its type.
            scale: of a map in int8.
            buffer: number of the buffer that holds its values, 0 for none.
            scales: instead of `scale`, one for each index along `axis`.
            axis: of `scales`.
        """
        import tflite

        quantization = None
        if scale is not None:
            quantization = self._quantization([scale.scale], [scale.zero_point], 0)
        elif scales is not None:
            quantization = self._quantization(scales.tolist(), [0] * len(scales), axis)
        fields = {
            "Shape": self.vector("Int32", shape),
            "Type": getattr(tflite.TensorType, _TYPES[kind]),
            "Buffer": buffer,
            "Name": self.builder.CreateString(name),
        }
        if quantization is not None:
            fields["Quantization"] = quantization
        self.tensors.append(self.table("Tensor", **fields))
        return len(self.tensors) - 1

    def constant(self, name: str, values: np.ndarray, **options: Any) -> int:
        """Append a tensor with its values."""
        kind = str(values.dtype)
        self.buffers.append(self.buffer(np.ascontiguousarray(values).tobytes()))
        return self.tensor(name, values.shape, kind, buffer=len(self.buffers) - 1, **options)

    def add(
        self, kind: str, inputs: Sequence[int], result: int, options: str = "", **fields: Any
    ) -> None:
        """Append an operator."""
        import tflite

        made = {
            "Inputs": self.vector("Int32", inputs),
            "Outputs": self.vector("Int32", [result]),
        }
        if options:
            made["BuiltinOptions"] = self.table(f"{options}Options", **fields)
            made["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, f"{options}Options")
        if kind not in self.codes:
            self.codes.append(kind)
        self.operators.append(self.table("Operator", OpcodeIndex=self.codes.index(kind), **made))

    def file(self, scores: int) -> bytes:
        """The whole file, once everything is appended."""
        import tflite

        described = {
            "dse": json.dumps(self.graph.metadata.to_dict()),
            "classes": json.dumps(self.graph.metadata.classes),
        }
        metadata = []
        for name, text in described.items():
            self.buffers.append(self.buffer(text.encode()))
            named = self.builder.CreateString(name)
            metadata.append(self.table("Metadata", Name=named, Buffer=len(self.buffers) - 1))
        codes = []
        for kind in self.codes:
            code = getattr(tflite.BuiltinOperator, kind)
            version = _INT8_VERSIONS.get(kind, 1) if self.int8 else 1
            codes.append(
                self.table(
                    "OperatorCode",
                    DeprecatedBuiltinCode=min(code, 127),
                    BuiltinCode=code,
                    Version=version,
                )
            )
        subgraph = self.table(
            "SubGraph",
            Tensors=self.vector("UOffsetTRelative", self.tensors),
            Inputs=self.vector("Int32", [0]),
            Outputs=self.vector("Int32", [scores]),
            Operators=self.vector("UOffsetTRelative", self.operators),
            Name=self.builder.CreateString("main"),
        )
        model = self.table(
            "Model",
            Version=SCHEMA_VERSION,
            OperatorCodes=self.vector("UOffsetTRelative", codes),
            Subgraphs=self.vector("UOffsetTRelative", [subgraph]),
            Description=self.builder.CreateString(f"dse {self.graph.metadata.family}"),
            Buffers=self.vector("UOffsetTRelative", self.buffers),
            Metadata=self.vector("UOffsetTRelative", metadata),
        )
        self.builder.Finish(model, b"TFL3")
        return bytes(self.builder.Output())

    def table(self, kind: str, **fields: Any) -> int:
        """Write a table of the schema; strings, vectors and tables in it are written already."""
        module = import_module(f"tflite.{kind}")
        module.Start(self.builder)
        for name, value in fields.items():
            getattr(module, f"Add{name}")(self.builder, value)
        return module.End(self.builder)

    def vector(self, kind: str, values: Sequence[float], size: int = 4) -> int:
        """Write a vector of numbers, or of what was written before."""
        self.builder.StartVector(size, len(values), size)
        for value in reversed(values):
            getattr(self.builder, f"Prepend{kind}")(value)
        return self.builder.EndVector()

    def buffer(self, content: bytes) -> int:
        """Write a buffer; gives its place, for `buffers`."""
        if not content:
            return self.table("Buffer")
        builder = self.builder
        builder.StartVector(1, len(content), _ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        return self.table("Buffer", Data=builder.EndVector())

    def _quantization(self, scales: list[float], zero_points: list[int], axis: int) -> int:
        return self.table(
            "QuantizationParameters",
            Scale=self.vector("Float32", scales),
            ZeroPoint=self.vector("Int64", zero_points, 8),
            QuantizedDimension=axis,
        )

    def _result(self, at: int, op: Operator) -> int:
        self.maps.append(self.tensor(op.name, (1, *op.output_shape), self.kind, self.scale(at)))
        return self.maps[-1]

    def _convolution(self, at: int, op: Operator, given: int) -> None:
        import tflite

        assert op.kernel is not None
        assert op.bias is not None
        kernel, bias = op.kernel, op.bias
        kernel_options: dict[str, Any] = {}
        bias_options: dict[str, Any] = {}
        if self.int8:
            own = self.int8.convolutions[at]
            kernel, bias = own.kernel, own.bias
            given_scale = np.float32(self.int8.scales[op.inputs[0]].scale)
            kernel_options = {"scales": own.kernel_scales}
            bias_options = {"scales": given_scale * own.kernel_scales}
        height, width, _, filters = kernel.shape
        is_depthwise = op.groups == op.input_shape[2] > 1
        if is_depthwise:
            kernel = kernel.reshape(1, height, width, filters)
            kernel_options |= {"axis": 3} if self.int8 else {}
        else:
            kernel = kernel.transpose(3, 0, 1, 2)
        low = self.int8.scales[op.inputs[0]].zero_point if self.int8 else 0
        x, padding = self._padded(op, given, (height, width), op.stride, op.padding, low)
        inputs = [
            x,
            self.constant(f"{op.name}/kernel", kernel, **kernel_options),
            self.constant(f"{op.name}/bias", bias, **bias_options),
        ]
        function = tflite.ActivationFunctionType
        options: dict[str, Any] = {"Padding": padding, "StrideW": op.stride, "StrideH": op.stride}
        options["FusedActivationFunction"] = function.RELU if op.is_relu else function.NONE
        kind, table = "CONV_2D", "Conv2D"
        if is_depthwise:
            kind, table = "DEPTHWISE_CONV_2D", "DepthwiseConv2D"
            options["DepthMultiplier"] = filters // op.groups
        self.add(kind, inputs, self._result(at, op), table, **options)

    def _padded(
        self,
        op: Operator,
        given: int,
        window: tuple[int, int],
        stride: int,
        padding: int,
        fill: float,
    ) -> tuple[int, int]:
        """The map that windows are taken of, and how LiteRT calls their padding.

        It knows padding as far as all windows fit (VALID) or as many as the map has strides
        (SAME); anything else is an operator in front.
        """
        import tflite

        shape, counts = op.input_shape[:2], op.output_shape[:2]
        spans = [(n - 1) * stride + k for n, k in zip(counts, window, strict=True)]
        if not padding and all(span <= size for span, size in zip(spans, shape, strict=True)):
            return given, tflite.Padding.VALID
        strides = [-(-size // stride) for size in shape]
        before = [max(span - size, 0) // 2 for span, size in zip(spans, shape, strict=True)]
        if strides == list(counts) and before == [padding, padding]:
            return given, tflite.Padding.SAME
        after = [max(span - size - padding, 0) for span, size in zip(spans, shape, strict=True)]
        sides = np.array([[0, 0], [padding, after[0]], [padding, after[1]], [0, 0]], np.int32)
        padded: Shape = (
            shape[0] + padding + after[0],
            shape[1] + padding + after[1],
            op.input_shape[2],
        )
        scale = self.scale(op.inputs[0])
        kind = np.int8 if self.int8 else np.float32
        options = {"scale": scale} if scale else {}
        x = self.tensor(f"{op.name}/padded", (1, *padded), self.kind, scale)
        sides_at = self.constant(f"{op.name}/padding", sides)
        fill_at = self.constant(f"{op.name}/fill", np.array([fill], kind), **options)
        self.add("PADV2", [given, sides_at, fill_at], x, "PadV2")
        return x, tflite.Padding.VALID
