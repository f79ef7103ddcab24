"""Networks: operations, Flax modules built from an Architecture, weights files."""

from dse.networks.build import Arrays, Network, build_network, moved_statistics
from dse.networks.load import LoadedNetwork, load_network
from dse.networks.ops import (
    batch_norm,
    batch_norm_train,
    conv2d,
    dense,
    global_average_pool,
    local_response_norm,
    max_pool,
    relu,
    use_cpu_forms,
)
from dse.networks.weights import load_weights, read_metadata, save_weights

__all__ = [
    "Arrays",
    "LoadedNetwork",
    "Network",
    "batch_norm",
    "batch_norm_train",
    "build_network",
    "conv2d",
    "dense",
    "global_average_pool",
    "load_network",
    "load_weights",
    "local_response_norm",
    "max_pool",
    "moved_statistics",
    "read_metadata",
    "relu",
    "save_weights",
    "use_cpu_forms",
]
