"""Exported files in the runtimes that they are for: onnxruntime, LiteRT, a C compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.errors import ExportError
from dse.export.c import METADATA_MARK
from dse.export.packages import need
from dse.files import read_bounded
from dse.inference.graph import scaled
from dse.weights.metadata import (
    FILE_MOST_BYTES,
    WeightsMetadata,
    metadata_from_dict,
    refusing_damage,
)

DRIVER = """
#include "{header}"
#include <stdio.h>
int main(void) {{
  static uint8_t image[DSE_HEIGHT * DSE_WIDTH * DSE_CHANNELS];
  static int8_t scores[DSE_CLASSES];
  while (fread(image, sizeof image, 1, stdin) == 1) {{
    if (dse_predict(image, scores))
      return 1;
    fwrite(scores, sizeof scores, 1, stdout);
  }}
  return 0;
}}
"""
"""Reads images and writes scores."""

CHECKED = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined")
"""Flags of a compiler that show what is wrong with a program."""


@dataclass(frozen=True, eq=False)
class Runtime:
    """A file that was opened in its runtime.

    Attributes:
        name: of the runtime, with its version.
        metadata: of the network.
        run: gives scores (image, class) of uint8 images (image, height, width, channel), RGB or
            gray; in the file's own type.
        scale, zero_point: a real score is scale · (score - zero point); 1 and 0 in float32.
    """

    name: str
    metadata: WeightsMetadata
    run: Callable[[np.ndarray], np.ndarray]
    scale: float = 1.0
    zero_point: int = 0

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Real scores, float32."""
        return (self.run(images).astype(np.float32) - self.zero_point) * np.float32(self.scale)


def open_exported(path: Path) -> Runtime:
    """Open a file of `dse export` in the runtime that its suffix says.

    Raises:
        ExportError: no such file or suffix, it is damaged or not ours, or its runtime is missing.
    """
    if path.suffix.lower() not in OPENERS:
        raise ExportError(f"{path}: no runtime goes with it; known are {', '.join(OPENERS)}")
    try:
        content = read_bounded(path, FILE_MOST_BYTES)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}") from error
    return OPENERS[path.suffix.lower()](path, content)


def open_onnx(path: Path, content: bytes, *, threads: int | None = None) -> Runtime:
    """In onnxruntime; int8 with its whole precision, which old x86 processors lack unless asked."""
    need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # as many as there are cores
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own types derive from nothing else
        raise ExportError(
            f"{path}: onnxruntime refuses it: {str(error).splitlines()[0]}"
        ) from error
    metadata = _described(path, session.get_modelmeta().custom_metadata_map.get("dse"))
    takes_pixels = session.get_inputs()[0].type == "tensor(uint8)"

    def run(images: np.ndarray) -> np.ndarray:
        if not takes_pixels:
            images = scaled(images, metadata.preprocessing).transpose(0, 3, 1, 2)
        return session.run(["scores"], {"images": images})[0]

    return Runtime(f"onnxruntime {onnxruntime.__version__}", metadata, run)


def open_litert(
    path: Path, content: bytes, *, reference: bool = False, threads: int | None = None
) -> Runtime:
    """In LiteRT, by its optimized kernels or by the reference kernels."""
    need("tflite", "ai_edge_litert")
    import tflite
    from ai_edge_litert import interpreter as litert

    model = tflite.Model.GetRootAs(content)
    with refusing_damage(path, "file"):
        if content[4:8] != b"TFL3":
            raise ValueError("no TFL3 behind its first four bytes")
        entries = [model.Metadata(i) for i in range(model.MetadataLength())]
        buffers = {entry.Name(): model.Buffers(entry.Buffer()) for entry in entries}
        text = buffers[b"dse"].DataAsNumpy().tobytes() if b"dse" in buffers else None
    metadata = _described(path, text)
    kernels = litert.OpResolverType.BUILTIN_REF if reference else litert.OpResolverType.AUTO
    try:
        interpreter = litert.Interpreter(
            model_content=content, experimental_op_resolver_type=kernels, num_threads=threads
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{path}: LiteRT refuses it: {str(error).splitlines()[0]}") from error
    first, last = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(images: np.ndarray) -> np.ndarray:
        if first["dtype"] != np.uint8:
            images = scaled(images, metadata.preprocessing)
        if first["dtype"] == np.int8:
            scale, zero_point = first["quantization"]
            images = np.clip(np.round(images / scale) + zero_point, -128, 127).astype(np.int8)
        found = []
        for image in images:
            interpreter.set_tensor(first["index"], image[None])
            interpreter.invoke()
            found.append(interpreter.get_tensor(last["index"])[0])
        return np.array(found)

    scale, zero_point = last["quantization"]
    return Runtime(
        "LiteRT" + (" (reference kernels)" if reference else ""),
        metadata,
        run,
        float(scale) or 1.0,
        int(zero_point),
    )


def open_c(path: Path, content: bytes, *, flags: tuple[str, ...] = ("-O3", "-std=c99")) -> Runtime:
    """Compiled by gcc (or cc) with a program that reads images and writes scores."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ExportError(f"{path}: running it takes a C compiler, and neither gcc nor cc is there")
    _, mark, rest = content.decode("utf-8", "replace").partition(METADATA_MARK)
    metadata = _described(path, rest.partition(" */")[0] if mark else None)
    header = path.with_suffix(".h").resolve()
    folder = Path(tempfile.mkdtemp(prefix="dse-c-"))
    program, main = folder / "program", folder / "main.c"
    main.write_text(DRIVER.format(header=header), encoding="utf-8")
    compiled = subprocess.run(
        [compiler, *flags, str(path.resolve()), str(main), "-o", str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        shutil.rmtree(folder)
        raise ExportError(f"{path}: cannot be compiled: {compiled.stderr.strip()[:2000]}")
    numbers = dict(
        line.split()[1:3]
        for line in header.read_text(encoding="utf-8").splitlines()
        if line.startswith("#define DSE_SCORE_")
    )

    def run(images: np.ndarray) -> np.ndarray:
        done = subprocess.run([program], input=images.tobytes(), capture_output=True, check=False)
        if done.returncode or done.stderr:
            raise ExportError(f"{path}: the program ended with {done.stderr.decode()[:2000]}")
        return np.frombuffer(done.stdout, np.int8).reshape(len(images), -1)

    runtime = Runtime(
        f"C by {Path(compiler).name}",
        metadata,
        run,
        float(numbers["DSE_SCORE_SCALE"].rstrip("f")),
        int(numbers["DSE_SCORE_ZERO_POINT"].strip("()")),
    )
    weakref.finalize(runtime, shutil.rmtree, folder, ignore_errors=True)
    return runtime


OPENERS: dict[str, Callable[[Path, bytes], Runtime]] = {
    ".onnx": open_onnx,
    ".tflite": open_litert,
    ".c": open_c,
}
"""What opens the files of each suffix."""


def _described(path: Path, text: str | bytes | None) -> WeightsMetadata:
    if text is None:
        raise ExportError(f"{path}: dse export did not write it (it says nothing of its classes)")
    with refusing_damage(path, "description"):
        return metadata_from_dict(json.loads(text))
