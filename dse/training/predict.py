"""Scoring images with a network: the best classes of each, and accuracy over many.

A score is what the network gives for a class before any softmax (a logit). For SqueezeNet as
published that is the mean of conv10's map after its ReLU, hence never below 0. Among equal
scores the class of the lower index is the better one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dse.architecture import Architecture
from dse.data import LabelledTree, Split
from dse.data.source import Block
from dse.data.stream import stream_batches
from dse.errors import DataError, WeightsError
from dse.networks import LoadedNetwork, Network
from dse.stats.classification import Outcomes
from dse.training.parametrization import Tree
from dse.training.scaling import InputScaling
from dse.training.xla import check_backend, compiler_options, load_or_compile
from dse.weights.metadata import WeightsMetadata

BATCH_COUNT = 64
"""Images that are scored at once, unless another number is given."""

BEST_COUNT = 5
NAMED_COUNT = 100  # broken images that are named; the others are counted

OnProgress = Callable[[str, int, int], None]
"""Called with (stage, images done, images in all)."""


def warn_of_image(text: str) -> None:
    """Warn of an image that a library decoded, but not without a warning: `path (warning)`."""
    warnings.warn(text, stacklevel=2)


class Scored(NamedTuple):
    """The best classes of some images, the best first.

    Attributes:
        scores: float32 (image, best).
        classes: int32 (image, best).
        is_finite: bool (image,), whether all scores of an image are.
        probabilities: float32 (image, best), by softmax over all classes; None where only the
            best class was asked for.
    """

    scores: np.ndarray
    classes: np.ndarray
    is_finite: np.ndarray
    probabilities: np.ndarray | None = None


FindBest = Callable[[np.ndarray], Scored]
"""Finds the best classes of uint8 images (image, height, width, channel), RGB or gray."""


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities float64 (image, class) by scores of that shape."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def best_scores(scores: np.ndarray, best_count: int) -> Scored:
    """The best classes by scores, float32 (image, class); of equal ones the lower index."""
    classes = np.argsort(-scores, axis=1, kind="stable")[:, :best_count].astype(np.int32)
    best = np.take_along_axis(scores, classes, 1)
    with np.errstate(invalid="ignore"):  # scores that are not finite are refused afterwards
        shares = np.take_along_axis(softmax(scores), classes, 1)
    return Scored(best, classes, np.isfinite(scores).all(1), shares)


class Predictor:
    """The compiled program that finds the best classes of images, by any weights of one network.

    Args:
        network: whose weights they are.
        scaling: of its input.
        best_count: classes that are found for each image.
        batch_count: images in a batch; a smaller one is filled up with black.

    Attributes:
        compile_s: seconds of compilation.
    """

    def __init__(
        self,
        network: Network,
        scaling: InputScaling,
        *,
        best_count: int = 1,
        batch_count: int = BATCH_COUNT,
    ) -> None:
        started = time.perf_counter()
        self.batch_count = batch_count

        def program(params: Tree, statistics: Tree, images: jax.Array) -> tuple[jax.Array, ...]:
            logits, _ = network.apply(params, statistics, scaling.apply(images), train=False)
            is_finite = jnp.isfinite(logits).all(1)
            if best_count == 1:  # a maximum compiles faster than a sort
                classes = jnp.argmax(logits, 1)[:, None].astype(jnp.int32)
                return jnp.max(logits, 1)[:, None], classes, is_finite
            scores, classes = jax.lax.top_k(logits, best_count)
            total = jax.nn.logsumexp(logits, axis=1, keepdims=True)
            return scores, classes.astype(jnp.int32), is_finite, jnp.exp(scores - total)

        shape = (batch_count, *network.architecture.input_shape)
        self._program = load_or_compile(
            jax.jit(program, keep_unused=True, compiler_options=compiler_options()),
            (
                network.abstract_params(),
                network.abstract_statistics(),
                jax.ShapeDtypeStruct(shape, jnp.uint8),
            ),
            result=(0, 0, 0) if best_count == 1 else (0, 0, 0, 0),
            key=f"best {best_count} {shape} {program_key(network.architecture, scaling)}",
        )
        self.compile_s = time.perf_counter() - started

    def best(self, params: Tree, statistics: Tree, images: np.ndarray) -> Scored:
        """The best classes of at most `batch_count` images, uint8 (image, height, width, channel).

        RGB or gray; params and statistics are nested dicts of arrays as the network takes them.
        """
        padding = [(0, self.batch_count - len(images)), (0, 0), (0, 0), (0, 0)]
        found = self._program(params, statistics, np.pad(images, padding))
        return Scored(*(np.asarray(array)[: len(images)] for array in found))

    def correct(self, params: Tree, statistics: Tree, split: Split) -> np.ndarray:
        """Whether the best class of each image of `split` is its label, bool (image,)."""
        found = [
            self.best(params, statistics, batch.images).classes[:, 0] == batch.labels
            for batch in split_batches(split, self.batch_count)
        ]
        return np.concatenate([np.empty(0, bool), *found])


def program_key(architecture: Architecture, scaling: InputScaling) -> str:
    """All that the programs of a network on images of one scale have in common."""
    network = (architecture.input_shape, architecture.classes_count, architecture.layers)
    return repr((network, scaling))


def scores_of(
    predictor: Predictor, params: Tree, statistics: Tree, split: Split, classes_count: int
) -> np.ndarray:
    """Scores float32 (image, class); the predictor finds as many best classes as there are."""
    found = np.zeros((len(split), classes_count), np.float32)
    start = 0
    for batch in split_batches(split, predictor.batch_count):
        best = predictor.best(params, statistics, batch.images)
        part = found[start : start + len(batch.images)]
        np.put_along_axis(part, best.classes.astype(np.int64), best.scores, 1)
        start += len(part)
    return found


def split_batches(split: Split, batch_count: int) -> Iterator[Block]:
    """The images of a prepared split in their order; every batch but the last is full."""
    for start in range(0, len(split), batch_count):
        end = start + batch_count
        yield Block(np.asarray(split.images[start:end]), np.asarray(split.labels[start:end]))


@dataclass(frozen=True)
class Evaluation:
    """How often a network is correct.

    Attributes:
        images_count: images that were scored.
        top1_count: of those, how often the best class was the label.
        top5_count: how often the label was among the best five; None with five classes
            or fewer, where it always is.
        broken_count: images that could not be decoded; they are in none of the counts above.
        broken: `path (reason)` of the first 100 of them.
        wall_s: seconds of decoding and scoring, compilation aside.
        compile_s: seconds of compilation.
        outcomes: the classes of each image that was scored, true and predicted.
    """

    images_count: int
    top1_count: int
    top5_count: int | None
    broken_count: int
    broken: tuple[str, ...]
    wall_s: float
    compile_s: float
    outcomes: Outcomes

    @property
    def images_per_s(self) -> float:
        """Images per second, decoding included and compilation aside."""
        return self.images_count / self.wall_s


@dataclass(frozen=True)
class Best:
    """The best classes of one image.

    Attributes:
        path: the image.
        classes: indices, the best first; five, or all where there are fewer.
        scores: of those classes.
        probabilities: of those classes, by softmax over all.
    """

    path: str
    classes: tuple[int, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]


def evaluate(
    loaded: LoadedNetwork,
    images: LabelledTree | Split,
    *,
    source: str,
    batch_count: int,
    on_progress: OnProgress = lambda stage, done, total: None,
    on_warning: Callable[[str], None] = warn_of_image,
) -> Evaluation:
    """Score all images of class folders, decoded on the way, or of a prepared split.

    Args:
        loaded: a network with its weights.
        images: with their classes; those of a split have the shape of the network's input.
        source: what messages call the weights.
        batch_count: images that are scored at once; more of them need more memory.
        on_progress: told how many images are done.
        on_warning: told `path (warning)` of images that a library decoded with warnings.

    Raises:
        DataError: not one image can be decoded.
        WeightsError: a score is not finite.
    """
    images_count = len(images) if isinstance(images, Split) else images.images_count
    predictor = _predictor(loaded, min(batch_count, images_count))
    found = score_images(
        _best_of(loaded, predictor),
        loaded.metadata,
        images,
        source=source,
        batch_count=predictor.batch_count,
        on_progress=on_progress,
        on_warning=on_warning,
    )
    return replace(found, compile_s=predictor.compile_s)


def score_images(
    best: FindBest,
    metadata: WeightsMetadata,
    images: LabelledTree | Split,
    *,
    source: str,
    batch_count: int,
    on_progress: OnProgress = lambda stage, done, total: None,
    on_warning: Callable[[str], None] = warn_of_image,
) -> Evaluation:
    """Score all images by whatever finds the best classes; otherwise as `evaluate`.

    Args:
        best: the program or runtime.
        metadata: of the network.
        images: see `evaluate`, as for all that follow.
        source: see there.
        batch_count: see there.
        on_progress: see there.
        on_warning: see there.
    """
    batches: Iterable[Block]
    names: tuple[str, ...] = ()
    if isinstance(images, Split):
        labels = np.asarray(images.labels, np.int64)
        numbered = Split(images.images, np.arange(len(labels), dtype=np.int32))
        batches = split_batches(numbered, batch_count)
    else:
        names, found_labels = zip(*images.images(), strict=True)
        labels = np.array(found_labels, np.int64)
        batches = stream_batches(
            ((name, at) for at, name in enumerate(names)),  # which one it is, for a label
            metadata.preprocessing,
            batch_count=batch_count,
            root=images.directory,
        )
    broken_count, scored_count = 0, 0
    broken: list[str] = []
    places: list[np.ndarray] = []
    scored: list[Scored] = []
    started = time.perf_counter()
    for batch, found in _score(best, batches, source):
        places.append(batch.labels)
        scored.append(found)
        scored_count += len(batch.labels)
        broken_count += len(batch.broken)
        broken += batch.broken[: NAMED_COUNT - len(broken)]
        for text in batch.warnings:
            on_warning(text)
        on_progress("scoring images", scored_count + broken_count, len(labels))
    wall_s = time.perf_counter() - started
    if not scored_count and isinstance(images, LabelledTree):
        raise DataError(
            f"none of {broken_count} images of {images.directory} can be decoded; the first "
            f"is {broken[0]}"
        )
    at = np.concatenate(places)
    outcomes = Outcomes(
        metadata.classes,
        labels[at],
        np.concatenate([one.classes for one in scored]).astype(np.int64),
        np.concatenate([_probabilities(one) for one in scored]),
        tuple(names[one] for one in at) if names else (),
    )
    is_in_five = (outcomes.best == outcomes.labels[:, None]).any(1)
    return Evaluation(
        images_count=scored_count,
        top1_count=int(outcomes.is_correct.sum()),
        top5_count=int(is_in_five.sum()) if len(metadata.classes) > BEST_COUNT else None,
        broken_count=broken_count,
        broken=tuple(broken),
        wall_s=wall_s,
        compile_s=0.0,
        outcomes=outcomes,
    )


def _probabilities(scored: Scored) -> np.ndarray:
    """Those of the best classes; of a network with one class, 1."""
    if scored.probabilities is None:
        return np.ones(scored.scores.shape)
    return scored.probabilities.astype(np.float64)


def predict(
    loaded: LoadedNetwork,
    paths: list[str],
    *,
    source: str,
    batch_count: int = BATCH_COUNT,
    on_warning: Callable[[str], None] = warn_of_image,
) -> Iterator[Best | str]:
    """The best classes of each image in turn, or `path (reason)` where one is broken.

    Broken images come before those of their batch; `on_warning` is as for `evaluate`.

    Raises:
        WeightsError: a score is not finite.
    """
    predictor = _predictor(loaded, min(batch_count, len(paths)))
    batches = stream_batches(
        ((path, index) for index, path in enumerate(paths)),
        loaded.metadata.preprocessing,
        batch_count=predictor.batch_count,
    )
    for batch, found in _score(_best_of(loaded, predictor), batches, source):
        for text in batch.warnings:
            on_warning(text)
        yield from batch.broken
        rows = zip(batch.labels, found.classes, found.scores, _probabilities(found), strict=True)
        for index, classes, scores, shares in rows:
            yield Best(paths[index], tuple(map(int, classes)), *map(_floats, (scores, shares)))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


def _predictor(loaded: LoadedNetwork, batch_count: int) -> Predictor:
    check_backend()
    return Predictor(
        loaded.network,
        InputScaling.of_rule(loaded.metadata.preprocessing),
        best_count=min(BEST_COUNT, len(loaded.metadata.classes)),
        batch_count=batch_count,
    )


def _best_of(loaded: LoadedNetwork, predictor: Predictor) -> FindBest:
    return partial(predictor.best, *jax.device_put((loaded.params, loaded.statistics)))


def _score(best: FindBest, batches: Iterable[Block], source: str) -> Iterator[tuple[Block, Scored]]:
    """Each batch and what the network makes of it.

    Raises:
        WeightsError: a score is not finite.
    """
    for batch in batches:
        found = best(batch.images)
        if not found.is_finite.all():
            raise WeightsError(
                f"{source}: the network gives scores that are not finite; its weights are "
                "damaged or the training diverged"
            )
        yield batch, found
