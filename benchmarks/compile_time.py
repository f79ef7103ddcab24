"""How long XLA compiles a training program, by its options, and how fast the program is then.

    python benchmarks/compile_time.py --json results/benchmarks/compile_time.json

As workers do it: as many processes as there are cores, one thread each, at the same time, each
with a fresh program. The options take turns within a round; medians over the rounds. Seconds
are those of XLA alone, without tracing; images a second are those of all processes together,
on random images.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

EMITTERS, LEVEL = "xla_cpu_use_fusion_emitters", "xla_backend_optimization_level"

OPTIONS: dict[str, dict[str, Any]] = {
    "XLA's defaults": {},
    "older code generator": {EMITTERS: False},
    "level 1": {LEVEL: 1},
    "both (ours)": {EMITTERS: False, LEVEL: 1},
    "older code generator, level 0": {EMITTERS: False, LEVEL: 0},
}

CALLS = 6
"""Of the program, timed after two that warm up."""


def serve(options: dict[str, Any], name: str) -> None:
    """A process: compiles and runs, prints seconds and images a second."""
    from benchmarks.training_step import calls_of, our_program
    from dse.training.xla import compiler

    compiler._FOR_CPU = options
    program, arguments = our_program(name)
    lowered = program.lower(*arguments)
    started = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - started
    run, images_count = calls_of(compiled, arguments)
    run()
    run()
    started = time.perf_counter()
    for _ in range(CALLS):
        run()
    print(json.dumps([compile_s, CALLS * images_count / (time.perf_counter() - started)]))


def measure(options: dict[str, Any], name: str, processes_count: int) -> tuple[float, float]:
    """Mean seconds of compilation, and images a second of all processes, in one round."""
    from dse.execution.local import worker_environment

    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--serve", json.dumps(options), name],
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(index) | {"PYTHONPATH": str(ROOT)},
        )
        for index in range(processes_count)
    ]
    found = [json.loads(process.communicate()[0]) for process in processes]
    return sum(s for s, _ in found) / len(found), sum(speed for _, speed in found)


def main() -> None:
    """Measure and print a table."""
    from benchmarks.machine import command_line, machine, write_json
    from benchmarks.training_step import NETWORKS, parsed_options

    chosen = parsed_options(__doc__.splitlines()[0], rounds=3)
    if chosen.serve:
        serve(json.loads(chosen.serve[0]), chosen.serve[1])
        return
    rows = []
    print(f"{'network':24}{'options':32}{'compile s':>10}{'images/s':>10}", flush=True)
    for name in chosen.only or NETWORKS:
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in OPTIONS}
        for _ in range(chosen.rounds):
            for label, options in OPTIONS.items():
                found[label].append(measure(options, name, chosen.processes))
        for label, rounds in found.items():
            compile_s, speed = (median(values) for values in zip(*rounds, strict=True))
            rows.append(
                {
                    "network": name,
                    "options": OPTIONS[label],
                    "rounds": rounds,
                    "compile_s": compile_s,
                    "images_per_s": speed,
                }
            )
            print(f"{name:24}{label:32}{compile_s:10.2f}{speed:10,.0f}", flush=True)
    if chosen.json:
        document = {
            "command": command_line(),
            "machine": machine("jax", "flax"),
            "processes": chosen.processes,
            "rows": rows,
        }
        write_json(chosen.json, document)


if __name__ == "__main__":
    main()
