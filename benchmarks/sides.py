"""What both sides of a benchmark start from, and how `dse` itself is started in one."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def prepared(data: str, epochs: int | None, train_images: int | None = None) -> tuple[Any, Any]:
    """The images, decoded beforehand, and the recipe of both sides (its own epochs if None)."""
    from dse.data import parse_data, prepare_data
    from dse.training import default_recipe

    spec = parse_data(data, train_limit=train_images)
    dataset = prepare_data(spec, progress=lambda stage, done, total: None)
    recipe = default_recipe(spec.source, dataset.input_shape, len(dataset.train))
    return dataset, replace(recipe, epochs=epochs or recipe.epochs)


def our_command(words: list[str], folder: str) -> dict[str, Any]:
    """Arguments for `subprocess` that run `dse` with results in a folder and nothing compiled."""
    from dse.data.spec import cache_root

    cache = Path(folder, "cache")
    cache.mkdir()
    for path in cache_root().iterdir():  # decoded images are shared, compiled programs are not
        if path.name != "compiled":
            (cache / path.name).symlink_to(path.resolve())
    places = ["--results", f"{folder}/results", "--plots", f"{folder}/plots"]
    return {
        "args": [sys.executable, "-P", "-m", "dse.cli.main", *words, *places],
        "env": os.environ | {"PYTHONPATH": str(ROOT), "DSE_CACHE": str(cache)},
    }
