"""C programs, compiled with every warning and sanitizer, against the integer reference."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from dse.architecture import PRESETS, Candidate, Shape, build, cost, make_candidate
from dse.deployment.arena import plan_arena
from dse.deployment.chip import chip_memory
from dse.errors import ExportError
from dse.export.c import Program, c_files, plan_program
from dse.export.runtimes import CHECKED, open_c
from dse.inference import int8
from dse.inference.calibrate import calibrate
from dse.inference.graph import Graph, make_graph
from tests.export.networks import (
    BYPASS,
    random_arrays,
    random_graph,
    random_images,
    random_metadata,
)
from tests.strategies import squeezenet_candidates

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def write(
    graph: Graph, folder: Path, count: int = 3, *, compress: bool = False
) -> tuple[Program, Path, np.ndarray]:
    images = random_images(graph.metadata.input_shape, count)
    network = int8.quantize(graph, calibrate(graph, images))
    program = plan_program(network, compress_weights=compress)
    for path, content in c_files(program, folder / "net.c", images[-1]).items():
        path.write_bytes(content)
    return program, folder / "net.c", images


def check(graph: Graph, folder: Path, *, compress: bool = False) -> Program:
    """Every score is the integer reference's."""
    program, path, images = write(graph, folder, compress=compress)
    found = open_c(path, path.read_bytes(), flags=("-O1", *CHECKED))
    assert np.array_equal(found.run(images), int8.scores(program.int8, images))
    assert found.metadata == graph.metadata
    last = program.int8.scales[-1]
    np.testing.assert_allclose(found.scores(images), last.value(found.run(images)), rtol=1e-6)
    return program


@pytest.mark.parametrize(
    ("candidate", "shape"),
    [
        (BYPASS, (23, 16, 3)),
        pytest.param(PRESETS["alexnet_tiny"].candidate, (8, 8, 1), marks=pytest.mark.slow),
    ],
)
def test_equals_the_integer_reference(
    candidate: Candidate, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    check(random_graph(candidate, shape, with_preprocessing=True), tmp_path)


def compressed_graph(candidate: Candidate, shape: Shape, density: float, count: int) -> Graph:
    """Random weights as `dse compress` leaves them: zeros, and few values in each layer."""
    arrays = random_arrays(candidate, shape, 10)
    for path, values in arrays.items():
        if path.endswith("kernel"):
            low, high = np.quantile(np.abs(values), (1 - density, 1))
            step = 2 * high / count
            shared = (np.floor(values / step) + 0.5) * step
            arrays[path] = np.where(np.abs(values) < low, 0, shared).astype(np.float32)
    metadata = random_metadata(candidate, shape, 10)
    return make_graph(build(candidate, shape, 10), arrays, metadata, with_preprocessing=True)


def test_kernels_in_codes_give_the_same_scores(tmp_path: Path) -> None:
    """With batch norms, whose factors make one value another int8 in each filter."""
    graph = compressed_graph(BYPASS, (23, 16, 3), 0.4, 16)
    program = check(graph, tmp_path, compress=True)
    plain = plan_program(program.int8).memory
    assert {codes.scales is None for codes in program.codes.values()} == {True, False}
    assert program.memory.constant_bytes < 0.8 * plain.constant_bytes
    assert program.memory.ram_bytes < 1.1 * plain.ram_bytes


CMSIS_NN = Path(__file__).parent / "cmsis_nn"


@pytest.mark.parametrize(
    ("candidate", "shape"),
    [
        (BYPASS, (23, 16, 3)),  # parts of joins, windows over the edge, padding
        pytest.param(  # dense layers
            PRESETS["alexnet_tiny"].candidate, (8, 8, 1), marks=pytest.mark.slow
        ),
    ],
)
def test_cmsis_nn_gives_the_same_scores(candidate: Candidate, shape: Shape, tmp_path: Path) -> None:
    """Of a stand-in that computes what its interface says; one that errs is noticed."""
    graph = random_graph(candidate, shape, with_preprocessing=True)
    program, path, images = write(graph, tmp_path)
    expected = int8.scores(program.int8, images)
    calls = (f"-I{CMSIS_NN}", str(CMSIS_NN / "stand_in.c"), "-DDSE_CMSIS_NN")

    def found(*flags: str) -> np.ndarray:
        opened = open_c(path, path.read_bytes(), flags=(*calls, *flags))
        return opened.run(images)

    assert np.array_equal(found("-O1", *CHECKED), expected)
    assert not np.array_equal(found("-DCONVOLUTION_WRONG_BY=40"), expected)
    assert not np.array_equal(found("-DPOOL_WRONG_BY=40"), expected)
    with pytest.raises(ExportError, match="this network rounds twice"):
        found("-DCMSIS_NN_USE_SINGLE_ROUNDING")


@settings(max_examples=25)
@given(candidate=squeezenet_candidates((32, 32, 3)))
def test_the_arena_is_the_computed_peak(candidate: Candidate) -> None:
    """Within 10%; and no two maps that are held at once overlap."""
    graph = random_graph(candidate, (32, 32, 3), with_preprocessing=True)
    peak = cost(build(candidate, (32, 32, 3), 10)).peak_activation_bytes // 4
    assert plan_arena(graph.operators).arena_bytes <= 1.1 * peak + 64


def test_the_program_tests_itself(tmp_path: Path) -> None:
    graph = random_graph(BYPASS, (16, 16, 3), with_preprocessing=True)
    _, path, _ = write(graph, tmp_path)
    command = ["gcc", "-std=c99", "-O1", "-o", "net", "net.c", "net_test.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    run = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "0 of 10 scores differ\n")
    source = path.with_name("net_test.c")
    text = source.read_text()
    place = text.index("expected[10] = {\n") + len("expected[10] = {\n")
    first, rest = text[place:].split(",", 1)
    source.write_text(f"{text[:place]}{-1 - int(first)},{rest}")
    subprocess.run(command, cwd=tmp_path, check=True)
    run = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "1 of 10 scores differ\n")


CORTEX_M = Path(__file__).parent / "cortex_m"


WIDER = make_candidate("squeezenet", {"base_e": 16, "incr_e": 16, "squeeze_ratio": 0.5})


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="apt-get install gcc-arm-none-eabi qemu-system-arm",
)
@pytest.mark.parametrize(
    ("candidate", "shape", "compress"),
    [
        (BYPASS, (32, 32, 3), False),
        (WIDER, (32, 32, 3), False),
        (WIDER, (64, 64, 3), False),
        (PRESETS["alexnet_tiny"].candidate, (8, 8, 1), False),
        (BYPASS, (32, 32, 3), True),
        (WIDER, (32, 32, 3), True),
    ],
)
def test_runs_on_an_emulated_cortex_m(
    candidate: Candidate, shape: Shape, compress: bool, tmp_path: Path
) -> None:
    """The scores of the PC, and flash and RAM of the linker map as the sheet computes them."""
    graph = compressed_graph(candidate, shape, 0.3 if compress else 1.0, 16)
    program, _, _ = write(graph, tmp_path, compress=compress)
    assert bool(program.codes) == compress
    compiler = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2"]
    subprocess.run([*compiler, "-c", "net.c"], cwd=tmp_path, check=True)
    link = ["--specs=rdimon.specs", "-nostartfiles", "-T", str(CORTEX_M / "mps2.ld")]
    files = [str(CORTEX_M / "startup.c"), "net.o", "net_test.c", "-Wl,-Map=net.map"]
    subprocess.run([*compiler, *link, *files, "-o", "net.elf"], cwd=tmp_path, check=True)
    board = ["qemu-system-arm", "-M", "mps2-an386", "-cpu", "cortex-m4", "-nographic"]
    semihosting = ["-semihosting-config", "enable=on,target=native", "-kernel", "net.elf"]
    run = subprocess.run(
        [*board, *semihosting],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert run.stdout == "0 of 10 scores differ\n"
    placed = re.findall(
        r"^ \.(text|rodata|data|bss)\S*\s+0x\w+\s+(0x\w+) net\.o$",
        (tmp_path / "net.map").read_text(),
        re.MULTILINE,
    )
    sizes = Counter[str]()
    for section, size in placed:
        sizes[section] += int(size, 16)
    computed = program.memory
    assert compress or computed == chip_memory(build(candidate, shape, 10))
    assert sizes["data"] == 0
    assert sizes["bss"] == pytest.approx(computed.ram_bytes, rel=0.02)
    assert sizes["text"] + sizes["rodata"] == pytest.approx(computed.flash_bytes, rel=0.02)
    print(sizes, computed)


def test_names_that_c_does_not_like(tmp_path: Path) -> None:
    graph = random_graph(BYPASS, (16, 16, 3), with_preprocessing=True)
    names = ('a "quoted"', "*/ end", "what??/", "ümlaut", "\\back", "f", "g", "h", "i", "j")
    object.__setattr__(graph.metadata, "classes", names)
    _, path, _ = write(graph, tmp_path, 1)
    main = tmp_path / "main.c"
    main.write_text(
        '#define DSE_CLASS_NAMES\n#include "net.h"\n#include <stdio.h>\n'
        "int main(void) { for (int i = 0; i < 10; i++) puts(dse_class_names[i]); return 0; }\n"
    )
    command = ["gcc", *CHECKED[:4], "-o", "net", "net.c", "main.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert tuple(printed.decode().splitlines()) == names
    assert open_c(path, path.read_bytes()).metadata.classes == names
