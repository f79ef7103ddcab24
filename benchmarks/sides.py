"""What both sides of a benchmark start from, and how `dse` itself is started in one."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def prepared(data: str, epochs: int | None, train_images: int | None = None) -> tuple[Any, Any]:
    """The images, decoded beforehand, and the recipe of both sides (its own epochs if None)."""
    from dse.data import parse_data, prepare_data

    spec = parse_data(data, train_limit=train_images)
    dataset = prepare_data(spec, progress=lambda stage, done, total: None)
    recipe = former_recipe(spec.source, dataset.input_shape, len(dataset.train))
    return dataset, replace(recipe, epochs=epochs or recipe.epochs)


def former_recipe(source: str, shape: tuple[int, int, int], train_count: int) -> Any:
    """The defaults of commit abe660b (SGD, but for digits), which the PyTorch side has too."""
    from dse.training import Recipe, halved_batch_size

    if source == "digits":
        return Recipe(
            optimizer="adamw",
            learning_rate=0.01,
            batch_size=32,
            epochs=15,
            weight_decay=0.01,
            crop_px=0,
            flip=False,
            clip_norm=1.0,
        )
    batch_size = halved_batch_size(train_count, least=8, steps=16)
    rate, crop_px = 0.1 * batch_size / 128, min(shape[:2]) // 8
    return Recipe(batch_size=batch_size, learning_rate=rate, crop_px=crop_px, clip_norm=5.0)


def recipe_words(recipe: Any) -> list[str]:
    """The options by which `dse` trains with this recipe, whatever its default is."""
    texts = (f"{name}={str(value).lower()}" for name, value in asdict(recipe).items())
    return [word for text in texts for word in ("--recipe", text)]


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
