"""Compressed weights: the published Deep Compression file, decoded."""

from dse.compression.deep_compression import (
    PUBLISHED_SHA256,
    Decoded,
    decode_deep_compression,
    largest_bytes,
    read_deep_compression,
)

__all__ = [
    "PUBLISHED_SHA256",
    "Decoded",
    "decode_deep_compression",
    "largest_bytes",
    "read_deep_compression",
]
