"""The runtimes that exported files are tested in."""

from __future__ import annotations

import numpy as np
import pytest


def run_litert(model: bytes, given: np.ndarray) -> np.ndarray:
    """Scores of a file in LiteRT's reference kernels, one image after the other."""
    interpreter_module = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed"
    )
    interpreter = interpreter_module.Interpreter(
        model_content=model,
        experimental_op_resolver_type=interpreter_module.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    first, last = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    found = []
    for one in given:
        interpreter.set_tensor(first, one[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(last)[0])
    return np.array(found)


def run_onnx(model: bytes, images: np.ndarray) -> np.ndarray:
    """Scores of a file in onnxruntime, with the whole precision of int8 also on old processors."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options)
    return session.run(["scores"], {"images": images})[0]
