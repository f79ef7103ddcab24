"""From a weights file alone to the network that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dse.networks.build import Arrays, Network, build_network
from dse.weights.metadata import WeightsMetadata, described_architecture
from dse.weights.preprocessing import Preprocessing
from dse.weights.safetensors import load_weights, read_metadata


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network with its weights.

    Attributes:
        network: built for the input that `metadata` names.
        params, statistics: nested dicts of float32 numpy arrays for `network.apply`.
        metadata: what the file says of itself.
    """

    network: Network
    params: Arrays
    statistics: Arrays
    metadata: WeightsMetadata

    def applying_exif_orientation(self) -> LoadedNetwork:
        """The same, fed with images that are turned as their EXIF data says."""
        rule = replace(self.metadata.preprocessing, upright=True)
        return replace(self, metadata=replace(self.metadata, preprocessing=rule))


def load_network(path: Path, *, preprocessing: Preprocessing | None = None) -> LoadedNetwork:
    """Builds the network that a weights file describes and checks that the arrays fit it.

    Args:
        path: the file.
        preprocessing: another rule than the file's; the network is built for what it gives.

    Raises:
        WeightsError: no such file, damaged, no network is like that, or the arrays are not its.
    """
    metadata = read_metadata(path)
    if preprocessing is not None:
        shape = preprocessing.input_shape
        metadata = replace(metadata, preprocessing=preprocessing, input_shape=shape)
    architecture = described_architecture(path, metadata)
    params, statistics, _ = load_weights(path, architecture)
    return LoadedNetwork(build_network(architecture), params, statistics, metadata)
