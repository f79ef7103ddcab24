"""A network's many small arrays, end to end in few long ones.

A fire network has some hundred kernels, biases and norms. Array by array, each wants loops of
its own in the optimizer and in the running statistics, and XLA compiles and loads every one.
"""

from __future__ import annotations

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any
"""A nested dictionary of arrays keyed by layer names."""

LARGE = 16_384
"""Weights from which on an array stays by itself: copying it would cost more than its loops."""


class Packing:
    """Between a nested dictionary of arrays and its packed form.

    Packed, all kernels are one array {"kernel": (weight,)} and all else is another,
    {"other": (value,)}: what decays, and what does not. Large arrays stay as they are, in
    {"apart": {path: {kind: array}}}. What would be empty is absent.

    Args:
        tree: arrays, or their shapes and types; all of one type.
        is_matrices: leave the kernels of all convolutions (four dimensions) as they are, for
            an optimizer that sees them as matrices.
        large: weights from which on an array stays by itself; 0 packs nothing.
    """

    def __init__(self, tree: Tree, *, is_matrices: bool = False, large: int = LARGE) -> None:
        named, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        self._shapes = [leaf.shape for _, leaf in named]
        self._paths = ["/".join(part.key for part in path) for path, _ in named]
        self._kinds = [path[-1].key for path, _ in named]
        self._apart = [
            place
            for place, (kind, shape) in enumerate(zip(self._kinds, self._shapes, strict=True))
            if prod(shape) >= large or (is_matrices and kind == "kernel" and len(shape) == 4)
        ]
        small = [place for place in range(len(named)) if place not in self._apart]
        members = {
            "kernel": [place for place in small if self._kinds[place] == "kernel"],
            "other": [place for place in small if self._kinds[place] != "kernel"],
        }
        self._members = {name: places for name, places in members.items() if places}

    def pack(self, tree: Tree) -> Tree:
        """The packed form; of numpy arrays in numpy, otherwise traced."""
        leaves = jax.tree.leaves(tree)
        library: Any = np if all(isinstance(leaf, np.ndarray) for leaf in leaves) else jnp
        packed: Tree = {
            name: library.concatenate([leaves[place].reshape(-1) for place in places])
            for name, places in self._members.items()
        }
        if self._apart:
            packed["apart"] = {
                self._paths[place]: {self._kinds[place]: leaves[place]} for place in self._apart
            }
        return packed

    def unpack(self, packed: Tree) -> Tree:
        """The nested dictionary that was packed."""
        leaves: list[Any] = [None] * len(self._shapes)
        for place in self._apart:
            leaves[place] = packed["apart"][self._paths[place]][self._kinds[place]]
        for name, places in self._members.items():
            start = 0
            for place in places:
                end = start + prod(self._shapes[place])
                leaves[place] = packed[name][start:end].reshape(self._shapes[place])
                start = end
        return jax.tree.unflatten(self._structure, leaves)

    def abstract(self, tree: Tree) -> Tree:
        """Shapes and types of the packed form of arrays of these shapes and types."""
        return jax.eval_shape(self.pack, tree)
