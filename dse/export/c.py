"""C99: a pair of files without dependencies and without heap, int8.

`int dse_predict(const uint8_t *image, int8_t *scores)` takes one image as pixels, RGB or gray,
(height, width, channels), and gives one int8 a class: score = scale · (q - zero point). All
maps lie in one static arena, whose layout is planned here. A third file, `NAME_test.c`, has a
`main` that runs one image and compares its scores. Kernels may be held in codes (`codes.py`),
which the program decodes a few filters at a time, into the arena.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from dse.architecture.primitives import Add, GlobalAveragePool, Join, MaxPool
from dse.deployment.arena import Arena, Place, plan_arena
from dse.deployment.chip import LARGE_BYTES, ChipMemory, code_bytes, constant_bytes
from dse.errors import ExportError
from dse.export.codes import FILTERS_AT_ONCE, Codes, coded
from dse.inference.int8 import Int8Graph, add_multipliers, mean_multiplier, scores

KERNELS_PATH = Path(__file__).with_name("kernels.c")
METADATA_MARK = "dse-metadata: "
_A_LINE = 24  # numbers


@dataclass(frozen=True, eq=False)
class Program:
    """A network as the C program has it; made by `plan_program`.

    Attributes:
        int8: the network; its graph takes pixels.
        codes: kernels that are held in codes, by the number of the operator's result.
    """

    int8: Int8Graph
    codes: Mapping[int, Codes] = field(default_factory=dict)

    @cached_property
    def plan(self) -> tuple[int, Arena]:
        """Filters that are decoded before they are used, and where these and all maps lie."""
        kernels = {at: self.int8.convolutions[at].kernel for at in self.codes}
        operators = self.int8.graph.operators
        plans = []
        for count in (FILTERS_AT_ONCE, 1):
            room = {at: kernel[..., :count].size for at, kernel in kernels.items()}
            plans.append((count, plan_arena(operators, room)))
        return min(plans, key=lambda plan: plan[1].arena_bytes)  # the first of equals

    @property
    def arena(self) -> Arena:
        """Where everything lies."""
        return self.plan[1]

    @cached_property
    def memory(self) -> ChipMemory:
        """Flash and RAM, exact but for the code."""
        operators, found = self.int8.graph.operators, self.int8.convolutions
        kernels = [(own.kernel.nbytes, len(own.bias)) for own in found.values()]
        constants = constant_bytes([op.primitive for op in operators], kernels)
        for at, codes in self.codes.items():
            large = sum(array.nbytes >= LARGE_BYTES for array in codes.arrays[:1])
            plain = found[at].kernel.nbytes
            constants += codes.flash_bytes + large - plain - (plain >= LARGE_BYTES)
        code = code_bytes([op.primitive for op in operators], coded_count=len(self.codes))
        return ChipMemory(constants, code, self.arena.arena_bytes)


def plan_program(int8: Int8Graph, *, compress_weights: bool = False) -> Program:
    """The C program of a network.

    Args:
        int8: the network; its graph takes pixels.
        compress_weights: hold kernels in codes where that is smaller.
    """
    if not compress_weights:
        return Program(int8)
    operators = int8.graph.operators
    found = {at: coded(operators[at - 1], own) for at, own in int8.convolutions.items()}
    return Program(
        int8,
        {at: codes for at, codes in found.items() if codes and operators[at - 1].inputs != (0,)},
    )


def c_files(program: Program, out: Path, image: np.ndarray) -> dict[Path, bytes]:
    """The files of a network.

    Args:
        program: the network.
        out: the `.c` file; the header and the test lie beside it.
        image: uint8 (height, width, channel), for the test.

    Raises:
        ExportError: the name is none that C can include.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", out.stem):
        raise ExportError(f"{out}: a C file wants a name of letters, digits, _, . and -")
    header = out.with_suffix(".h")
    expected = scores(program.int8, image[None])[0]
    return {
        out: _source(program, header.name).encode(),
        header: _header(program).encode(),
        out.with_name(f"{out.stem}_test.c"): _test(header.name, image, expected).encode(),
    }


def _header(program: Program) -> str:
    int8, memory = program.int8, program.memory
    metadata, last = int8.graph.metadata, int8.scales[-1]
    height, width, channels = metadata.input_shape
    names = ",\n".join(f'  "{_c_text(name)}"' for name in metadata.classes)
    return f"""/* {metadata.family} {metadata.candidate.key}, int8; written by dse export. */
#ifndef DSE_NETWORK_H
#define DSE_NETWORK_H
#include <stdint.h>

#define DSE_HEIGHT {height}
#define DSE_WIDTH {width}
#define DSE_CHANNELS {channels} /* {"gray" if channels == 1 else "red, green, blue"} */
#define DSE_CLASSES {len(metadata.classes)}
#define DSE_SCORE_SCALE {np.float32(last.scale)!s}f /* score = scale * (q - zero point) */
#define DSE_SCORE_ZERO_POINT ({last.zero_point})
#define DSE_ARENA_BYTES {memory.ram_bytes} /* of static memory */
#define DSE_CONSTANT_BYTES {memory.constant_bytes} /* of flash beside the code */
#ifdef DSE_CMSIS_NN /* define it to call Arm's CMSIS-NN; the scores stay the same */
#define DSE_CMSIS_NN_BYTES {_cmsis_nn_bytes(program)} /* of static memory beside the arena */
#endif

/* Scores of one image, (height, width, channels) pixels; 0, or -1 where a pointer is null.
   Not for several threads at once: there is one arena. */
int dse_predict(const uint8_t *image, int8_t *scores);

#ifdef DSE_CLASS_NAMES /* define it where they are wanted */
static const char *const dse_class_names[DSE_CLASSES] = {{
{names}
}};
#endif
#endif
"""


def _source(program: Program, header: str) -> str:
    int8, arena = program.int8, program.arena
    graph = int8.graph
    used = {"rescale"}
    arrays, calls = [], []

    def named(at: int) -> str:
        op = graph.operators[at - 1]
        return re.sub(r"\W", "_", op.name)

    def pointer(at: int) -> str:
        if at == len(graph.operators):
            return "scores"
        place = arena.places[at]
        assert place is not None
        return f"arena + {place.offset}"

    def pair(at: int) -> str:
        return f"&map_{named(at)}, {pointer(at)}"

    for at, op in enumerate(graph.operators, start=1):
        place, (height, width, channels) = arena.places[at], op.output_shape
        pitch = place.pitch if place else channels
        zero = int8.scales[at].zero_point
        arrays.append(
            f"static const dse_map map_{named(at)} = {{{height}, {width}, {channels}, {pitch}, "
            f"{zero}}};"
        )
        result = pair(at)
        if at in int8.convolutions:
            arrays.append(_convolution(program, at, named(at)))
            used.add("convolution")  # its struct serves the pixels too
            if op.inputs == (0,):
                used.add("pixels")
                calls.append(f"dse_scale_pixels(&op_{named(at)}, image, {result})")
            elif at in program.codes:
                used.add("codes")
                calls.append(
                    f"dse_convolve_coded(&op_{named(at)}, &codes_{named(at)}, "
                    f"arena + {arena.scratch[at]}, {pair(op.inputs[0])}, {result})"
                )
            else:
                used.add("convolve")
                calls.append(f"dse_convolve(&op_{named(at)}, {pair(op.inputs[0])}, {result})")
            continue
        match op.primitive:
            case MaxPool(window=window, stride=stride):
                used.add("max_pool")
                calls.append(f"dse_max_pool({window}, {stride}, {pair(op.inputs[0])}, {result})")
            case GlobalAveragePool():
                used.add("mean")
                count = op.input_shape[0] * op.input_shape[1]
                q, shift = mean_multiplier(int8.scales[op.inputs[0]], int8.scales[at], count)
                calls.append(f"dse_mean({q}, {shift}, {pair(op.inputs[0])}, {result})")
            case Add():
                used.add("add")
                first, second = op.inputs
                pairs = add_multipliers(int8.scales[first], int8.scales[second], int8.scales[at])
                arrays.append(
                    f"static const int32_t q_{named(at)}[3] = "
                    f"{{{', '.join(str(q) for q, _ in pairs)}}};\n"
                    f"static const int8_t shift_{named(at)}[3] = "
                    f"{{{', '.join(str(shift) for _, shift in pairs)}}};"
                )
                calls.append(
                    f"dse_add(q_{named(at)}, shift_{named(at)}, {pair(first)}, {pair(second)}, "
                    f"{result})"
                )
            case Join():
                channel = 0
                for part in op.inputs:
                    within, own = arena.places[at], arena.places[part]
                    assert within is not None
                    if own != Place(within.offset + channel, within.pitch):
                        used.add("copy")
                        calls.append(f"dse_copy({pair(part)}, {result} + {channel})")
                    channel += graph.shapes[part][2]
            case _:
                raise AssertionError(op)
    body = "\n".join(f"  {call};" for call in calls)
    described = json.dumps(graph.metadata.to_dict())
    for letter in "/?":  # no end of the comment, no trigraph
        described = described.replace(letter, f"\\u{ord(letter):04x}")
    title = f"{graph.metadata.family} {graph.metadata.candidate.key}, int8; written by dse export."
    return f"""/* {title}
   {METADATA_MARK}{described} */
#include "{header}"
#include <stddef.h>

{_kernels(used)}
{chr(10).join(arrays)}

static int8_t arena[DSE_ARENA_BYTES];

int dse_predict(const uint8_t *image, int8_t *scores) {{
  if (image == NULL || scores == NULL)
    return -1;
{body}
  return 0;
}}
"""


def _cmsis_nn_bytes(program: Program) -> int:
    """Scratch memory of CMSIS-NN: two columns of int16 or four of int8, and a row of results.

    The row is of maps whose channels stand apart; the sizes are those of its own functions
    `arm_convolve_*_s8_get_buffer_size`, which the program asks again.
    """
    most = 4
    for at, own in program.int8.convolutions.items():
        _, width, channels = program.int8.graph.shapes[at]
        place = program.arena.places[at]
        row = width * channels if place and place.pitch != channels else 0
        column = -(-own.kernel[..., 0].size // 16) * 16
        most = max(most, 4 * column + -(-row // 4) * 4)
    return most


def _convolution(program: Program, at: int, name: str) -> str:
    int8, codes = program.int8, program.codes.get(at)
    op, own = int8.graph.operators[at - 1], int8.convolutions[at]
    height, width = own.kernel.shape[:2]
    low = int8.scales[at].zero_point if op.is_relu else -128
    arrays = [
        _array("int32_t", f"bias_{name}", own.bias),
        _array("int32_t", f"multipliers_{name}", own.multipliers),
        _array("dse_shift", f"shifts_{name}", own.shifts),
    ]
    kernel = "NULL" if codes else f"kernel_{name}"
    if codes:
        arrays += _codes(codes, name, program.plan[0])
    else:
        arrays.append(_array("int8_t", kernel, own.kernel.transpose(3, 0, 1, 2)))
    arrays.append(
        f"static const dse_convolution op_{name} = {{{height}, {width}, {op.stride}, "
        f"{op.padding}, {op.groups}, {low}, {kernel}, bias_{name}, multipliers_{name}, "
        f"shifts_{name}}};"
    )
    return "\n".join(arrays)


def _codes(codes: Codes, name: str, at_once: int) -> list[str]:
    values, levels, scales = f"values_{name}", "NULL", "NULL"
    arrays = [
        _array("uint8_t", f"bits_{name}", codes.bits),
        _array("uint16_t", f"counts_{name}", codes.counts),
    ]
    if codes.scales is None:
        arrays.append(_array("int8_t", values, codes.table))
    else:
        values, levels, scales = "NULL", f"levels_{name}", f"scales_{name}"
        arrays.append(_array("int32_t", levels, codes.table))
        arrays.append(_array("int32_t", scales, codes.scales))
    arrays.append(
        f"static const dse_codes codes_{name} = {{bits_{name}, counts_{name}, "
        f"{at_once}, {codes.one}, {codes.two}, {codes.shift}, {values}, {levels}, "
        f"{scales}}};"
    )
    return arrays


def _kernels(used: Iterable[str]) -> str:
    """The functions that a network calls; a compiler would warn of others."""
    parts = re.split(
        r"^/\* kernel: (\w+) \*/\n", KERNELS_PATH.read_text(encoding="utf-8"), flags=re.M
    )
    return "\n".join(
        part.strip() + "\n"
        for name, part in zip(parts[1::2], parts[2::2], strict=True)
        if name in used
    )


def _array(kind: str, name: str, values: np.ndarray) -> str:
    if values.itemsize == 1 and values.size >= LARGE_BYTES:
        # With room for the zero that ends a text, whose absence compilers warn of.
        return f"static const {kind} {name}[{values.size} + 1] =\n{_octal_text(values)};"
    # The smallest integers have no literal in C: -2147483648 is minus a long.
    numbers = [str(max(value, -(2**31) + 1)) for value in values.ravel().tolist()]
    lines = [", ".join(numbers[i : i + _A_LINE]) for i in range(0, len(numbers), _A_LINE)]
    return f"static const {kind} {name}[{len(numbers)}] = {{\n" + ",\n".join(lines) + "};"


def _octal_text(values: np.ndarray) -> str:
    """Bytes as text in C, an octal escape for each, in lines."""
    escapes = np.array([f"\\{byte:03o}".encode() for byte in range(256)])
    text = escapes[np.ascontiguousarray(values).view(np.uint8).ravel()].tobytes().decode()
    width = 4 * _A_LINE
    return "\n".join(f'"{text[i : i + width]}"' for i in range(0, len(text), width))


def _c_text(text: str) -> str:
    """A text between quotes in C: everything but plain ASCII as octal escapes of UTF-8."""
    return "".join(
        chr(byte)
        if (chr(byte).isalnum() and byte < 128) or byte in b" _-.,()'"
        else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "replace")
    )


def _test(header: str, image: np.ndarray, expected: np.ndarray) -> str:
    return f"""/* Runs one image and compares its scores; written by dse export. */
#include "{header}"
#include <stdio.h>

{_array("uint8_t", "image", image)}
{_array("int8_t", "expected", expected)}

int main(void) {{
  static int8_t scores[DSE_CLASSES];
  int different = dse_predict(image, scores) != 0;
  for (int i = 0; i < DSE_CLASSES; i++)
    different += scores[i] != expected[i];
  printf("%d of %d scores differ\\n", different, DSE_CLASSES);
  return different != 0;
}}
"""
