"""Training by our recipe in PyTorch, as its users write it: what benchmarks compare with."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.torch_networks import make_optimizer, torch_network
from dse.architecture import Architecture
from dse.data import Dataset, Split
from dse.training import Recipe

SCORE_BATCH = 500

OnEpoch = Callable[[int, float], bool]
"""Called with (epochs completed, validation accuracy); True stops the training."""


def one_cycle(recipe: Recipe, steps_count: int) -> Callable[[int], float]:
    """The learning rate of each step: `dse.training.optimizers.learning_rates`, without JAX."""
    peak, first, last = recipe.learning_rate, recipe.learning_rate / 25, recipe.learning_rate / 25e4
    top = int(recipe.warmup_share * steps_count)

    def between(start: float, end: float, share: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    def rate(step: int) -> float:
        if step < top:
            return between(first, peak, step / top)
        return between(peak, last, (step - top) / max(1, steps_count - top))

    return rate


class TorchData:
    """The prepared images as tensors, channels last."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.mean = torch.tensor(dataset.mean)[None, :, None, None]
        self.std = torch.tensor(dataset.std)[None, :, None, None]
        self.train, self.validation = self._split(dataset.train), self._split(dataset.validation)
        self.test = self._split(dataset.test)

    def _split(self, split: Split) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2)
        return images, torch.from_numpy(np.array(split.labels)).long()

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 images as float32 with mean 0 and standard deviation 1."""
        return (images.float() / 255.0 - self.mean) / self.std


def augmented(
    images: torch.Tensor, crop: int, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """Random crops from a reflected border, and flips: one gather for the batch."""
    count, _, height, width = images.shape
    rows = torch.arange(height).expand(count, -1)
    columns = torch.arange(width).expand(count, -1)
    if flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if crop:
        shifts = torch.randint(-crop, crop + 1, (2, count, 1), generator=generator)
        rows, columns = _reflect(rows + shifts[0], height), _reflect(columns + shifts[1], width)
    picture = torch.arange(count)[:, None, None]
    found = images.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2)


def _reflect(index: torch.Tensor, size: int) -> torch.Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


def train(
    architecture: Architecture,
    data: TorchData,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_epoch: OnEpoch = lambda epochs, accuracy: False,
) -> nn.Module:
    """Train a network; SGD recipes without dropout alone."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = torch_network(architecture)
    optimizer = make_optimizer(
        network,
        learning_rate=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    images, labels = data.train
    steps = len(labels) // recipe.batch_size
    rate = one_cycle(recipe, steps * recipe.epochs)
    for epoch in range(recipe.epochs):
        network.train()
        order = torch.randperm(len(labels), generator=generator)
        for step in range(steps):
            picked = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            pictures = data.normalised(images[picked])
            pictures = augmented(pictures, recipe.crop_px, recipe.flip, generator)
            for group in optimizer.param_groups:
                group["lr"] = rate(epoch * steps + step)
            optimizer.zero_grad(set_to_none=True)
            loss_of(network(pictures), labels[picked]).backward()
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimizer.step()
        if on_epoch(epoch + 1, accuracy(network, data, data.validation)):
            break
    return network


@torch.no_grad()
def accuracy(
    network: nn.Module, data: TorchData, split: tuple[torch.Tensor, torch.Tensor]
) -> float:
    """Share of the images of a split that are right."""
    network.eval()
    images, labels = split
    right = 0
    for start in range(0, len(labels), SCORE_BATCH):
        logits = network(data.normalised(images[start : start + SCORE_BATCH]))
        right += int((logits.argmax(1) == labels[start : start + SCORE_BATCH]).sum())
    return right / len(labels)
