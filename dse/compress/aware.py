"""Quantization-aware fine-tuning: a network trained further as int8 will compute it.

Kernels and maps are rounded in the forward pass by the scales of the integer reference, and
gradients pass as if they were not (`dse.networks.fake`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.architecture import Architecture
from dse.compress.finetune import sharing_recipe
from dse.compress.tuner import recipe_of_weights
from dse.data import parse_data, prepare_data
from dse.data.given import as_trained
from dse.data.spec import cache_root
from dse.inference.accuracy import MOST_IMAGES, Int8Accuracy, compared
from dse.inference.calibrate import Range
from dse.inference.graph import Graph, make_graph
from dse.inference.int8 import Int8Graph, quantize
from dse.networks.build import MapScales
from dse.training.parametrization import Int8Kernels, MaskedKernels, Relative, masks_of
from dse.training.trainer import Seed, Trainer
from dse.training.xla import check_backend, use_compile_cache
from dse.weights.safetensors import flat, load_weights, read_network


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning made of a network; accuracies are of the same validation images.

    Attributes:
        epochs: of training.
        before: of the network as it came.
        after: trained.
        is_kept: whether the trained network is more accurate in int8, and so is written.
    """

    epochs: int
    before: Int8Accuracy
    after: Int8Accuracy

    @property
    def is_kept(self) -> bool:
        """Equal accuracy keeps the network as it came."""
        return self.after.int8 > self.before.int8


def finetune_int8(
    weights: Path,
    graph: Graph,
    ranges: Sequence[Range],
    data: str,
    *,
    epochs: int,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Graph, Finetuned]:
    """Train a network for int8: its recipe, but small steps of AdamW, relative to magnitudes.

    Weights that are zero stay zero; values that weights shared are shared no more.

    Args:
        weights: the file that `graph` was read from.
        graph: the network.
        ranges: of every map; they stay as they are.
        data: the images that the weights were trained on, as for `parse_data`.
        epochs: of training, at least 1.
        say: told of each epoch, in words.

    Returns:
        The network that is more accurate in int8 on validation images, and both accuracies.

    Raises:
        UsageError: other images than the weights were trained on, or their norms are folded.
        DataError: the images cannot be read.
        DivergenceError: the loss became NaN or infinite.
    """
    check_backend()
    use_compile_cache(cache_root() / "compiled")
    metadata, architecture = read_network(weights)
    params, statistics, _ = load_weights(weights, architecture)
    spec = as_trained(parse_data(data), metadata)
    dataset = prepare_data(spec)
    arrays = flat(params, statistics)
    recipe = recipe_of_weights(
        data, spec.source, dataset, metadata, arrays, option="--finetune, --calibrate"
    )
    trained, fixed = Relative.start(params, masks_of(params), {})
    trainer = Trainer(
        architecture,
        dataset,
        sharing_recipe(recipe, epochs, relative="init" in metadata.extra),
        Int8Kernels(Relative(MaskedKernels())),
        scales=map_scales(architecture, quantize(graph, ranges)),
    )
    run = trainer.begin_from(trained, statistics, fixed)
    for grown in trainer.epochs(run, Seed(), epochs):
        run = grown
        say(f"fine-tuning for int8: epoch {run.epochs} of {epochs}, loss {run.loss:.4f}")
    arrays = flat(trainer.params_of(run), trainer.statistics_of(run))
    own = {path: np.asarray(array) for path, array in arrays.items()}
    tuned = make_graph(
        architecture, own, graph.metadata, with_preprocessing=graph.with_preprocessing
    )
    images = dataset.validation.images, dataset.validation.labels, MOST_IMAGES
    before, after = (compared(g, quantize(g, ranges), *images) for g in (graph, tuned))
    found = Finetuned(epochs, before, after)
    return tuned if found.is_kept else graph, found


def map_scales(architecture: Architecture, network: Int8Graph) -> MapScales:
    """The scales of an int8 network, by the maps of its architecture's graph."""
    graph, scales = network.graph, network.scales
    by_name = {op.name: scales[at] for at, op in enumerate(graph.operators, start=1)}
    found = [(0, scales[1 if graph.with_preprocessing else 0])]
    for at, node in enumerate(architecture.graph, start=1):
        if node.name in by_name:  # dropout has no map of its own
            found.append((at, by_name[node.name]))
    return tuple((at, own.scale, own.zero_point) for at, own in found)
