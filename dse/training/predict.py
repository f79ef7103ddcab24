"""Scoring images with a network and its weights: accuracy over many, the best classes of one.

A score is what the network gives for a class before any softmax (a logit). For SqueezeNet as
published that is the mean of conv10's map after its ReLU, hence never below 0. Among equal
scores the class of the lower index is the better one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dse.data import Split
from dse.data.labelled import LabelledTree
from dse.data.stream import Batch, Labelled, stream_batches
from dse.errors import DataError, WeightsError
from dse.networks import LoadedNetwork
from dse.training.xla.compiler import compiler_options
from dse.weights.preprocessing import Preprocessing

BEST_COUNT = 5
NAMED_COUNT = 100  # broken images that are named; the others are counted

OnProgress = Callable[[str, int, int], None]
"""Called with (stage, images done, images in all)."""


@dataclass
class _Tally:
    images_count: int = 0
    top1_count: int = 0
    top5_count: int = 0
    broken_count: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """How often a network is right.

    Attributes:
        images_count: images that were scored.
        top1_count: of those, how often the best class was the right one.
        top5_count: how often the right one was among the best five; None with five classes
            or fewer, where it always is.
        broken_count: images that could not be decoded; they are in none of the counts above.
        broken: `path (reason)` of the first 100 of them.
        wall_s: seconds of decoding and scoring, compilation aside.
        compile_s: seconds of compilation.
    """

    images_count: int
    top1_count: int
    top5_count: int | None
    broken_count: int
    broken: tuple[str, ...]
    wall_s: float
    compile_s: float

    @property
    def images_per_s(self) -> float:
        """Images a second, decoding included and compilation aside."""
        return self.images_count / self.wall_s


@dataclass(frozen=True)
class Best:
    """The best classes of one image.

    Attributes:
        path: the image.
        classes: indices, the best first; five, or all where there are fewer.
        scores: of those classes.
    """

    path: str
    classes: tuple[int, ...]
    scores: tuple[float, ...]


class Scorer:
    """The compiled program that finds the best classes of a batch.

    Args:
        loaded: a network with its weights.
        source: what messages call it.
        batch_count: images in a batch; a smaller one is filled up with black.
    """

    def __init__(self, loaded: LoadedNetwork, *, source: str, batch_count: int) -> None:
        self.rule = loaded.metadata.preprocessing
        self.batch_count = batch_count
        self.best_count = min(BEST_COUNT, len(loaded.metadata.classes))
        self._source = source
        self._arrays = jax.device_put((loaded.params, loaded.statistics))
        shape = (batch_count, *self.rule.input_shape)
        started = time.perf_counter()
        program = make_best_program(loaded, self.best_count)
        self._program: Any = program.lower(
            *self._arrays, jax.ShapeDtypeStruct(shape, jnp.uint8)
        ).compile()
        self.compile_s = time.perf_counter() - started

    def best(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (n, best_count) and classes int32 (n, best_count) of uint8 images.

        Raises:
            WeightsError: a score is not finite.
        """
        missing = self.batch_count - len(images)
        padded = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
        scores, classes, finite = self._program(*self._arrays, padded)
        if not np.asarray(finite)[: len(images)].all():
            raise WeightsError(
                f"{self._source}: the network gives scores that are not finite; its weights are "
                "damaged or the training diverged"
            )
        return np.asarray(scores)[: len(images)], np.asarray(classes)[: len(images)]


def make_best_program(loaded: LoadedNetwork, best_count: int) -> Any:
    """A jitted function from (params, statistics, images) to the best classes.

    Images are uint8 (batch, height, width, channel), RGB or gray; it gives scores float32
    (batch, best), classes int32 (batch, best), and whether all scores of a image are finite.
    """
    network, rule = loaded.network, loaded.metadata.preprocessing

    def program(params: Any, statistics: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        logits, _ = network.apply(params, statistics, prepare(images, rule), train=False)
        return (*jax.lax.top_k(logits, best_count), jnp.isfinite(logits).all(1))

    return jax.jit(program, compiler_options=compiler_options())


def prepare(images: jax.Array, rule: Preprocessing) -> jax.Array:
    """Uint8 images in RGB or gray as the float32 input of a network."""
    values = images.astype(jnp.float32) / (255.0 / rule.scale)
    if rule.channel_order == "bgr":
        values = values[..., ::-1]
    return (values - jnp.asarray(rule.mean)) / jnp.asarray(rule.std)


def evaluate_tree(
    loaded: LoadedNetwork,
    tree: LabelledTree,
    *,
    source: str,
    batch_count: int,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Score all images of class folders.

    Args:
        loaded: a network with its weights.
        tree: the images and their classes.
        source: what messages call the weights.
        batch_count: images that are scored at once; more of them need more memory.
        on_progress: told how many images are done.

    Raises:
        DataError: not one image can be decoded.
        WeightsError: a score is not finite.
    """
    scorer = Scorer(loaded, source=source, batch_count=min(batch_count, tree.images_count))
    tally = _Tally()
    started = time.perf_counter()
    batches = stream_batches(
        tree.images(), scorer.rule, batch_count=scorer.batch_count, root=tree.directory
    )
    for batch in batches:
        _count(tally, scorer, batch)
        if on_progress:
            done = tally.images_count + tally.broken_count
            on_progress("scoring images", done, tree.images_count)
    wall_s = time.perf_counter() - started
    if not tally.images_count:
        raise DataError(
            f"none of {tally.broken_count} images of {tree.directory} can be decoded; the first "
            f"is {tally.broken[0]}"
        )
    return _evaluation(loaded, scorer, tally, wall_s)


def evaluate_split(
    loaded: LoadedNetwork, split: Split, *, source: str, batch_count: int
) -> Evaluation:
    """Score prepared images, which have the shape and the classes of the network.

    Args:
        loaded: a network with its weights.
        split: uint8 images (image, height, width, channel) and their labels.
        source: what messages call the weights.
        batch_count: images that are scored at once.

    Raises:
        WeightsError: a score is not finite.
    """
    scorer = Scorer(loaded, source=source, batch_count=min(batch_count, len(split)))
    tally = _Tally()
    started = time.perf_counter()
    for start in range(0, len(split), scorer.batch_count):
        end = start + scorer.batch_count
        images, labels = split.images[start:end], split.labels[start:end]
        _count(tally, scorer, Batch(images, labels, ()))
    return _evaluation(loaded, scorer, tally, time.perf_counter() - started)


def best_classes(
    loaded: LoadedNetwork, paths: list[str], *, source: str, batch_count: int
) -> Iterator[Best | str]:
    """The best classes of each image in turn, or `path (reason)` where one is broken.

    Broken images come before those of their batch.

    Raises:
        WeightsError: a score is not finite.
    """
    scorer = Scorer(loaded, source=source, batch_count=min(batch_count, len(paths)))
    pictures: Iterator[Labelled] = ((path, index) for index, path in enumerate(paths))
    for batch in stream_batches(pictures, scorer.rule, batch_count=scorer.batch_count):
        yield from batch.broken
        if len(batch.labels):
            scores, classes = scorer.best(batch.images)
            for index, row, found in zip(batch.labels, scores, classes, strict=True):
                yield Best(paths[index], tuple(map(int, found)), tuple(map(float, row)))


def _evaluation(loaded: LoadedNetwork, scorer: Scorer, tally: _Tally, wall_s: float) -> Evaluation:
    return Evaluation(
        images_count=tally.images_count,
        top1_count=tally.top1_count,
        top5_count=tally.top5_count if len(loaded.metadata.classes) > BEST_COUNT else None,
        broken_count=tally.broken_count,
        broken=tuple(tally.broken),
        wall_s=wall_s,
        compile_s=scorer.compile_s,
    )


def _count(tally: _Tally, scorer: Scorer, batch: Batch) -> None:
    tally.broken_count += len(batch.broken)
    tally.broken += batch.broken[: NAMED_COUNT - len(tally.broken)]
    if len(batch.labels):
        _, classes = scorer.best(batch.images)
        right = classes == batch.labels[:, None]
        tally.images_count += len(batch.labels)
        tally.top1_count += int(right[:, 0].sum())
        tally.top5_count += int(right.any(1).sum())
