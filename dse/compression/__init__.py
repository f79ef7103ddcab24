"""Compressed weights: sparsity, shared values, entropy coding, the `.dsz` file; no JAX.

Also the file in which SqueezeNet's authors published it after Deep Compression, decoded.
"""

from dse.compression.container import (
    SUFFIX,
    Packed,
    pack,
    read_dsz,
    read_dsz_metadata,
    unpack,
    write_content,
    write_dsz,
)
from dse.compression.deep_compression import (
    PUBLISHED_SHA256,
    Decoded,
    decode_deep_compression,
    largest_bytes,
    read_deep_compression,
)
from dse.compression.shared import SharedWeights, share_exactly

__all__ = [
    "PUBLISHED_SHA256",
    "SUFFIX",
    "Decoded",
    "Packed",
    "SharedWeights",
    "decode_deep_compression",
    "largest_bytes",
    "pack",
    "read_deep_compression",
    "read_dsz",
    "read_dsz_metadata",
    "share_exactly",
    "unpack",
    "write_content",
    "write_dsz",
]
