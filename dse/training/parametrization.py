"""What is trained in the place of a network's parameters: all of them, some, or shared values.

A parametrization turns what the optimizer changes (`trained`) and what it leaves alone
(`fixed`) into the parameters of a network, inside the compiled step; the gradient of what is
trained follows by the chain rule: zero where a mask is, and for a shared value the sum over
its weights (Han, Mao and Dally 2016, arXiv 1510.00149, section 3.3).

Paths are nested as a network's parameters are: trained["fire2"]["squeeze"]["kernel"].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dse.networks.fake import fake_int8_kernel
from dse.weights.dsz import SharedWeights
from dse.weights.safetensors import flat, nested

Tree = Any
"""A nested dictionary of arrays keyed by layer names."""


class Parametrization(Protocol):
    """Between what is trained and the parameters of a network."""

    @property
    def key(self) -> str:
        """Names what `expand` does, for the cache of compiled programs."""
        ...

    def abstract(self, params: Tree) -> tuple[Tree, Tree]:
        """Shapes and types of (trained, fixed) for parameters of these shapes and types."""
        ...

    def expand(self, trained: Tree, fixed: Tree) -> Tree:
        """The parameters; traced inside the compiled step."""
        ...


class AllParameters:
    """Every parameter for itself: training as usual."""

    key = "all"

    def abstract(self, params: Tree) -> tuple[Tree, Tree]:
        """The parameters, and nothing fixed."""
        return params, ()

    def expand(self, trained: Tree, fixed: Tree) -> Tree:
        """The parameters as they are."""
        return trained


class MaskedKernels:
    """Kernels some of whose weights are zero and stay so; `fixed` holds the masks, bool."""

    key = "masked"

    def abstract(self, params: Tree) -> tuple[Tree, Tree]:
        """The parameters, and a mask for each kernel."""
        return params, _of_kernels(
            params, lambda kernel: jax.ShapeDtypeStruct(kernel.shape, jnp.bool_)
        )

    def expand(self, trained: Tree, fixed: Tree) -> Tree:
        """Kernels times their masks."""
        return _merged(trained, fixed, lambda kernel, mask: jnp.where(mask, kernel, 0))


class SharedKernels:
    """Kernels whose weights share values.

    In `trained` a codebook float32 (code,) stands for a kernel, in `fixed` its codes int32;
    code 0 is the value 0, whatever the codebook says, so zeros stay zero.

    Args:
        codes_count: length of each codebook, that of the value 0 included.
    """

    def __init__(self, codes_count: int) -> None:
        self.codes_count = codes_count
        self.key = f"shared {codes_count}"

    def abstract(self, params: Tree) -> tuple[Tree, Tree]:
        """Parameters with codebooks for kernels, and the codes."""
        codebook = jax.ShapeDtypeStruct((self.codes_count,), jnp.float32)
        codes = _of_kernels(params, lambda kernel: jax.ShapeDtypeStruct(kernel.shape, jnp.int32))
        return _merged(params, codes, lambda kernel, _: codebook), codes

    def expand(self, trained: Tree, fixed: Tree) -> Tree:
        """Each weight's value."""
        return _merged(trained, fixed, lambda book, codes: jnp.where(codes == 0, 0.0, book[codes]))


class Relative:
    """Another parametrization in units of each array's own magnitude at the start.

    A step of a given learning rate then changes every layer by about that share of itself, however
    large its weights are: published networks differ by orders of magnitude, and those without
    norms do not bear a step that suits another. `fixed` holds what the other has, and the units.

    Args:
        inner: the other.

    Source: the relative step of Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, section 8).
    """

    def __init__(self, inner: Parametrization) -> None:
        self.inner = inner
        self.key = f"relative {inner.key}"

    def abstract(self, params: Tree) -> tuple[Tree, Tree]:
        """Those of the other, and a number for each array that is trained."""
        trained, fixed = self.inner.abstract(params)
        return trained, (
            fixed,
            jax.tree.map(lambda x: jax.ShapeDtypeStruct((), jnp.float32), trained),
        )

    def expand(self, trained: Tree, fixed: Tree) -> Tree:
        """The other's, of arrays times their units."""
        others, units = fixed
        return self.inner.expand(jax.tree.map(jnp.multiply, trained, units), others)

    @staticmethod
    def start(trained: Tree, fixed: Tree, factors: Mapping[str, float]) -> tuple[Tree, Tree]:
        """Arrays in their units: root mean squares (1 for zeros) times factors, and fixed ones.

        Args:
            trained: arrays of the other parametrization.
            fixed: of the other.
            factors: how much faster than the others some arrays are trained, by path.
        """
        arrays = {path: np.asarray(array) for path, array in flat(trained).items()}
        units = {
            path: np.float32((np.sqrt(np.mean(np.square(array))) or 1.0) * factors.get(path, 1.0))
            for path, array in arrays.items()
        }
        scaled = {path: array / units[path] for path, array in arrays.items()}
        return nested(scaled)[0], (fixed, nested(units)[0])

    @staticmethod
    def end(trained: Tree, fixed: Tree) -> tuple[Tree, Tree]:
        """Arrays and fixed ones of the other parametrization: the inverse of `start`."""
        others, units = fixed
        return jax.tree.map(lambda x, unit: np.asarray(x * unit), trained, units), others


class Int8Kernels:
    """Kernels as int8 rounds them, with gradients as if they were not; the rest as it is.

    Rounding has a scale for each filter, so a batch norm may be folded into the kernel later.

    Args:
        inner: gives the parameters.
    """

    def __init__(self, inner: Parametrization) -> None:
        self.inner = inner
        self.key = f"int8 {inner.key}"

    def abstract(self, params: Tree) -> tuple[Tree, Tree]:
        """Those of the other."""
        return self.inner.abstract(params)

    def expand(self, trained: Tree, fixed: Tree) -> Tree:
        """The other's, kernels rounded."""
        params = self.inner.expand(trained, fixed)
        kernels = _of_kernels(params, fake_int8_kernel)
        return _merged(params, kernels, lambda _, kernel: kernel)


def masks_of(params: Tree) -> Tree:
    """Masks of the weights that are not zero, for `MaskedKernels`."""
    return _of_kernels(params, lambda kernel: np.asarray(kernel) != 0)


def shared_of(
    kernels: Mapping[str, SharedWeights], params: Tree
) -> tuple[SharedKernels, Tree, Tree]:
    """The parametrization of shared kernels, and where training starts.

    Args:
        kernels: by path (`fire2/squeeze/kernel`).
        params: the parameters; what is no kernel is trained as it is.

    Returns:
        (parametrization, trained, fixed).
    """
    books: dict[str, np.ndarray] = {}
    codes: dict[str, np.ndarray] = {}
    for path, kernel in kernels.items():
        zero = kernel.zero_code
        others = kernel.codebook if zero is None else np.delete(kernel.codebook, zero)
        books[path] = np.concatenate([[np.float32(0)], others]).astype(np.float32)
        shifted = kernel.codes.astype(np.int32)
        if zero is None:
            codes[path] = shifted + 1
        else:
            codes[path] = np.where(shifted == zero, 0, shifted + (shifted < zero))
    count = max(map(len, books.values()), default=1)
    padded = {path: np.pad(book, (0, count - len(book))) for path, book in books.items()}
    return SharedKernels(count), nested(flat(params) | padded)[0], nested(codes)[0]


def kernels_shared(trained: Tree, fixed: Tree) -> dict[str, SharedWeights]:
    """The shared kernels that training has arrived at, by path; codebooks in rising order."""
    found = {}
    books = flat(trained)
    for path, codes in flat(fixed).items():
        book = np.array(books[path], np.float32)
        book[0] = 0
        used, places = np.unique(np.asarray(codes), return_inverse=True)
        values, order = np.unique(book[used] + np.float32(0), return_inverse=True)
        found[path] = SharedWeights(values, order[places].astype(np.uint16).reshape(codes.shape))
    return found


def _of_kernels(params: Tree, make: Callable[[Any], Any]) -> Tree:
    """The tree of the kernels alone."""
    kernels = {path: x for path, x in flat(params).items() if path.rpartition("/")[2] == "kernel"}
    return nested({path: make(kernel) for path, kernel in kernels.items()})[0]


def _merged(trained: Tree, fixed: Tree, join: Callable[[Any, Any], Any]) -> Tree:
    """`trained`, with join(trained, fixed) where `fixed` has something."""
    arrays = flat(trained)
    return nested(arrays | {path: join(arrays[path], x) for path, x in flat(fixed).items()})[0]
