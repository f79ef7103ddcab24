"""Compressed weights: sparsity, shared values, entropy coding, the `.dsz` file; no JAX.

Also the file in which SqueezeNet's authors published it after Deep Compression, decoded.
"""

from dse.weights.dsz.container import (
    SUFFIX,
    Packed,
    pack,
    read_dsz,
    read_dsz_metadata,
    unpack,
    write_content,
)
from dse.weights.dsz.shared import SharedWeights, share_exactly

__all__ = [
    "SUFFIX",
    "Packed",
    "SharedWeights",
    "pack",
    "read_dsz",
    "read_dsz_metadata",
    "share_exactly",
    "unpack",
    "write_content",
]
