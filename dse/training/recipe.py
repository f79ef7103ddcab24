"""The recipe: how a network is trained, whichever network it is; and defaults for each data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dse.errors import ConfigError, TrainingError
from dse.text import nearest

Optimizer = Literal["sgd", "adamw", "muon"]
Schedule = Literal["cosine", "linear"]

_BOUNDS: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-8, 100.0),
    "momentum": (0.0, 0.9999),
    "warmup_share": (0.0, 1.0),
    "batch_size": (1, 65_536),
    "epochs": (1, 100_000),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 0.9),
    "crop_px": (0, 512),
    "cutout_px": (0, 512),
    "clip_norm": (0.0, 1e6),
    "rest_rate": (0.0, 1000.0),
    "bias_rate": (0.0, 1000.0),
    "norm_momentum": (0.0, 0.9999),
    "averaged_share": (0.0, 1.0),
    "distill_share": (0.0, 1.0),
    "distill_temperature": (0.1, 100.0),
    "crop_area": (0.0, 1.0),
}

_LATER = frozenset(
    {
        "schedule",
        "keeps_norms",
        "rest_rate",
        "bias_rate",
        "norm_momentum",
        "averaged_share",
        "alternates_flip",
        "whitens",
        "passes_through",
        "distill_share",
        "distill_temperature",
        "crop_area",
    }
)
"""Left out of a recipe's dictionary where they have their defaults, which change nothing."""

_READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    # Python's spelling too: the functions of `dse` write their arguments as texts.
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    str: (str, "a word"),
}

DISTILL_SHARE = 0.7
"""Of the loss, what a teacher's scores are the targets of where there is one."""


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run but the network, the images and the seed.

    Attributes:
        optimizer: `sgd` (Nesterov momentum), `adamw`, or `muon` (orthogonal updates of the
            convolution kernels by five Newton-Schulz steps, AdamW at a fifth of the rate for
            the rest; Jordan et al. 2024, "Muon: an optimizer for hidden layers").
        learning_rate: peak of the one-cycle schedule (cosine up from 1/25 of it, cosine
            down to 1/250,000 of it; Smith and Topin 2018).
        momentum: of `sgd` and `muon`; the first-moment decay of `adamw`.
        warmup_share: share of all steps before the peak, which is the last step at most.
        batch_size: images per step; the last, incomplete batch of an epoch is left out
            (every epoch leaves out others).
        epochs: passes over the training images.
        weight_decay: on kernels alone; times the learning rate each step for `adamw`
            and `muon`, added to the gradient for `sgd`.
        label_smoothing: share of the target spread over all classes.
        crop_px: random crops from a border of this many pixels; 0 for none.
        flip: mirror every second image.
        cutout_px: side of a square that is set to the mean; 0 for none.
        clip_norm: largest global norm of a gradient; 0 for no limit.
        schedule: `cosine`, the one-cycle schedule above, or `linear`: up from 0 to the peak
            over the warm-up share and down to 0 at the end.
        keeps_norms: for `muon`: each kernel keeps the Frobenius norm it starts with, so a step
            turns it by an angle of the learning rate, whatever its width; three Newton-Schulz
            steps; the last layer trains with the rest (Jordan 2024, `airbench94_muon`).
        rest_rate: for `muon`: the learning rate of what it does not orthogonalize, as a share
            of its own.
        bias_rate: the learning rate of biases, those of norms included, as a multiple.
        norm_momentum: share of the norms' running statistics that stays at every step.
        averaged_share: the weights that are evaluated and kept are an exponential moving
            average over this share of all steps; 0 for the last step's own.
        alternates_flip: with `flip`: half of the images are mirrored in even epochs, the
            others in odd ones, so that two epochs show each image both ways (Jordan 2024,
            arXiv 2404.00498, section 3.6).
        whitens: the first layer, before a batch norm, starts with the leading principal
            components of the training images' patches and their negatives.
        passes_through: 3x3 kernels before a batch norm start as identities on their first
            channels (Dirac initialization; arXiv 2404.00498, section 3.3).
        distill_share: share of the loss that a teacher's scores are the targets of; 0 for labels
            alone.
        distill_temperature: that scores are divided by there: the higher, the more the classes
            that the teacher finds less likely count.
        crop_area: train on random resized crops of the whole images, of at least this share of
            their area (0.08 is usual for ImageNet; Szegedy et al. 2014); 0 for none.
    """

    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    warmup_share: float = 0.3
    batch_size: int = 128
    epochs: int = 20
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    crop_px: int = 4
    flip: bool = True
    cutout_px: int = 0
    clip_norm: float = 0.0
    schedule: Schedule = "cosine"
    keeps_norms: bool = False
    rest_rate: float = 0.2
    bias_rate: float = 1.0
    norm_momentum: float = 0.9
    averaged_share: float = 0.0
    alternates_flip: bool = False
    whitens: bool = False
    passes_through: bool = False
    distill_share: float = 0.0
    distill_temperature: float = 4.0
    crop_area: float = 0.0

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: each value out of its bounds, one line each.
        """
        problems = [
            f"{name} is {value!r}, but must be in [{low:g}, {high:g}]"
            for name, (low, high) in _BOUNDS.items()
            if not low <= (value := getattr(self, name)) <= high
        ]
        for name, words in (("optimizer", Optimizer), ("schedule", Schedule)):
            if (word := getattr(self, name)) not in get_args(words):
                problems.append(
                    f"{name} is {word!r}, but must be one of " + ", ".join(get_args(words))
                )
        if problems:
            raise ConfigError(problems)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that stand for all values."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for YAML and JSON.

        What recipes of format 1 did not have is left out where it changes nothing, so that
        their studies and keys stay what they are.
        """
        neutral = {field.name: field.default for field in fields(self) if field.name in _LATER}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in neutral or value != neutral[name]
        }


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_dict`.

    Raises:
        ConfigError: an unknown name or a bad value.
    """
    known = {field.name for field in fields(Recipe)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError([f"{name} is no part of a recipe" for name in unknown])
    return Recipe(**values)


_ALIASES = {"lr": "learning_rate"}


def recipe_from_texts(recipe: Recipe, texts: Sequence[str], *, option: str = "--recipe") -> Recipe:
    """`recipe` with `key=value` settings applied, as the command line gives them.

    Args:
        recipe: what is changed.
        texts: the settings, in their order; `FILE.yaml` stands for those of a file, such as the
            recipe that `study.yaml` records; `lr` is `learning_rate`.
        option: what messages call the option that gave them.

    Raises:
        ConfigError: every text that is no setting, unknown name and bad value, one line each.
    """
    texts = [one for text in texts for one in _settings(text)]
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(Recipe)}
    changes: dict[str, Any] = {}
    problems = []
    for text in texts:
        name, _, value = text.partition("=")
        name = _ALIASES.get(name, name)
        if name not in kinds:
            problems.append(f"{option} {text}: {name} is no part of a recipe{nearest(name, kinds)}")
            continue
        read, wanted = _READERS[kinds[name]]
        try:
            changes[name] = read(value.strip())
        except (ValueError, KeyError):
            problems.append(f"{option} {text}: {name} must be {wanted}")
    if problems:
        raise ConfigError(problems)
    return replace(recipe, **changes)


def _settings(text: str) -> list[str]:
    """The settings of a YAML file, or the one that this is.

    Raises:
        ConfigError: the file cannot be read or holds no mapping.
    """
    if "=" in text or not text.lower().endswith((".yaml", ".yml")):
        return [text]
    from dse.config import load_yaml_dict

    document = load_yaml_dict(Path(text))
    recipe = document.get("recipe", document) if isinstance(document, dict) else None
    if not isinstance(recipe, dict):
        raise ConfigError(
            [f"{text}: must hold a mapping of the recipe's parts, for example learning_rate: 0.1"]
        )
    if "recipe" in document:  # of a study, which leaves out what had no effect
        later = {field.name: field.default for field in fields(Recipe) if field.name in _LATER}
        recipe = later | recipe
    return [f"{name}={value}" for name, value in recipe.items()]


def check_fits(
    recipe: Recipe, data_name: str, *, input_shape: tuple[int, int, int], train_count: int
) -> None:
    """Refuse a recipe that no network could be trained by on this data.

    Args:
        recipe: how to train.
        data_name: for the message.
        input_shape: (height, width, channels) of one image.
        train_count: number of training images.

    Raises:
        TrainingError: fewer images than one batch, or a crop as large as an image.
    """
    problems = []
    if train_count < recipe.batch_size:
        problems.append(
            f"{data_name} has {train_count} training images, fewer than one batch of "
            f"{recipe.batch_size}; a smaller one would help: --recipe batch_size=…"
        )
    height, width = input_shape[:2]
    if recipe.crop_px >= min(height, width):
        problems.append(
            f"crop_px is {recipe.crop_px}, but must be less than the side of an image, and "
            f"those of {data_name} are {height}x{width}: --recipe crop_px=…"
        )
    if problems:
        raise TrainingError("\n".join(problems))


def finetuning_recipe(source: str, input_shape: tuple[int, int, int], train_count: int) -> Recipe:
    """The recipe for networks that start from given weights.

    AdamW; its learning rate is relative to the magnitude of each array (`Relative`). Gray images,
    such as digits, are not mirrored, and those of less than 16 pixels are not shifted.

    Args:
        source: `digits`, `cifar10` or `folder`; the rule does not depend on it.
        input_shape: (height, width, channels) of one image.
        train_count: number of training images.
    """
    side = min(input_shape[:2])
    return Recipe(
        optimizer="adamw",
        learning_rate=1e-3,
        batch_size=min(16, train_count),
        epochs=6,
        weight_decay=0.01,
        crop_px=side // 8 if side >= 16 else 0,
        flip=input_shape[2] == 3,
    )


def halved_batch_size(train_count: int, *, least: int, steps: int, most: int = 128) -> int:
    """Images per batch, halved from `most` to `least` until an epoch has so many steps."""
    batch_size = most
    while batch_size > least and batch_size * steps > train_count:
        batch_size //= 2
    return batch_size


def default_recipe(source: str, input_shape: tuple[int, int, int], train_count: int) -> Recipe:
    """The recipe for images of this kind: one rule for every source, from what was measured.

    Gray images are not mirrored, since letters, digits and signs then mean something else; for
    colour ones of that kind say `flip=false`. Crops shift by a sixteenth of a side (digits of 8
    pixels fill them: none). A batch has 16 to 128 images, as long as an epoch has 32 steps;
    epochs are at least 15, and as many as 500 steps take, up to 60.

    Args:
        source: `digits`, `cifar10` or `folder`; the rule does not depend on it.
        input_shape: (height, width, channels) of one image.
        train_count: number of training images.

    Measured by `benchmarks/recipe.py`: benchmarks/results/recipe.md.
    """
    batch_size = halved_batch_size(train_count, least=16, steps=32)
    # Few images: a few steps at least.
    batch_size = halved_batch_size(train_count, least=1, steps=4, most=batch_size)
    steps_per_epoch = max(1, train_count // batch_size)
    return Recipe(
        optimizer="muon",
        keeps_norms=True,
        learning_rate=0.025,
        rest_rate=0.4,
        schedule="linear",
        warmup_share=0.2,
        batch_size=batch_size,
        epochs=min(max(15, round(500 / steps_per_epoch)), 60),
        weight_decay=0.0,
        label_smoothing=0.1,
        crop_px=min(input_shape[:2]) // 16,
        flip=input_shape[2] > 1,
        alternates_flip=input_shape[2] > 1,
        whitens=True,
        passes_through=True,
    )
