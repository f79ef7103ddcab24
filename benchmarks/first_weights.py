r"""First kernels before a batch norm: accuracy by the variance that they are drawn with.

    python benchmarks/first_weights.py squeeze_ratio.yaml --seeds 6 \
        --json results/benchmarks/first_weights.json
    python benchmarks/first_weights.py cifar10/squeeze_ratio.yaml --data folder:cifar10-jpeg \
        --epochs 2 --set 'squeeze_ratio={values: [0.25, 0.75]}'

Every candidate of a space is trained with each variance (times the fan-in) and seed by the
data's own recipe; the table has the means over seeds. 2 is He's, 1/3 what PyTorch draws with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

GAINS = (2.0, 1.0, 1 / 3, 1 / 18)


def trained(architecture: Any, dataset: Any, recipe: Any, seeds: int) -> list[tuple[float, float]]:
    """Validation and test accuracy of each seed."""
    from dse.training.trainer import Seed, Trainer

    trainer = Trainer(architecture, dataset, recipe)
    found = [trainer.train(Seed(seed)).measurement for seed in range(seeds)]
    return [(m.validation_accuracy, m.test_accuracy) for m in found]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, help="the recipe's own unless given")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from benchmarks.machine import command_line, machine, write_json
    from benchmarks.sides import prepared
    from dse.architecture import build
    from dse.config import apply_settings, find_space, load_space
    from dse.networks import initial
    from dse.space.enumerate import survey

    dataset, recipe = prepared(options.data, options.epochs)
    space = apply_settings(load_space(find_space(options.space)), options.settings)
    rows = []
    print(f"{'parameters':>10}{'variance':>10}{'validation':>12}{'test':>9}", flush=True)
    for candidate, cost in survey(space, dataset.input_shape, len(dataset.classes)).feasible:
        architecture = build(candidate, dataset.input_shape, len(dataset.classes))
        for gain in GAINS:
            initial.BATCH_NORM_GAIN = gain
            found = trained(architecture, dataset, recipe, options.seeds)
            validation, test = (mean(values) for values in zip(*found, strict=True))
            rows.append({"params_count": cost.params_count, "gain": gain, "accuracies": found})
            print(f"{cost.params_count:10,}{gain:10.3f}{validation:12.2%}{test:9.2%}", flush=True)
    if options.json:
        document = {
            "command": command_line(),
            "machine": machine("jax", "numpy"),
            "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
            "recipe": recipe.to_dict(),
            "rows": rows,
        }
        write_json(options.json, document)


if __name__ == "__main__":
    main()
