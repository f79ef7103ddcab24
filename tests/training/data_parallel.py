"""A process of four CPU devices: prints how far data-parallel training is from that of one."""

import json
import sys

import jax
import numpy as np

from dse.architecture import build, make_candidate
from dse.data import open_dataset
from dse.errors import TrainingError
from dse.training import Recipe
from dse.training.trainer import Seed, Trainer

data = open_dataset(sys.argv[1])
small = {"base_e": 4, "incr_e": 4, "fire_modules": 1, "norm": "batch"}
architecture = build(make_candidate("squeezenet", small), data.input_shape, len(data.classes))
recipe = Recipe(batch_size=8, epochs=5, learning_rate=0.02, crop_px=1)


def trained(devices_count):
    trainer = Trainer(architecture, data, recipe, devices_count=devices_count)
    found = trainer.train(Seed(1))
    return trainer, found


one, alone = trained(1)
four, together = trained(4)
steps = recipe.epochs * four.steps_per_epoch
leaves = [jax.tree.leaves((found.params, found.statistics)) for found in (alone, together)]
apart = max(float(np.abs(a - b).max()) for a, b in zip(*leaves, strict=True))
moved = float(np.abs(alone.params["conv1"]["kernel"]).max())
refused = []
for devices_count in (5, 3):
    try:
        trained(devices_count)
    except TrainingError as error:
        refused.append(str(error))
losses = alone.measurement.train_loss, together.measurement.train_loss
program = next(iter(four._train.values())).as_text()
exchanges = {name: program.count(f" {name}(") for name in ("all-reduce", "all-gather")}
print(json.dumps(exchanges))
print(json.dumps({"steps": steps, "apart": apart, "size": moved, "losses": losses}))
print(json.dumps(refused))
