"""Networks: operations, Flax modules built from an Architecture, weights files."""

from dse.networks.build import Arrays, Network, build_network, update_ema
from dse.networks.load import LoadedNetwork, load_network

__all__ = [
    "Arrays",
    "LoadedNetwork",
    "Network",
    "build_network",
    "load_network",
    "update_ema",
]
