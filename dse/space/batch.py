"""Numbers for many candidates at once, that pass through code written for one.

A `Batch` stands where a whole number stands: `build` and the layers add, multiply, divide
and compare it, and every candidate gets its own result. Where the code branches on it and
not all candidates would go the same way, `DivergentBranch` says which go where, and the caller
begins again with each part alone. So the rules that make layers and count them are written
once, for one network, and a million candidates are counted by those same lines.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

INT64_MOST = 2**63 - 1
SEVERAL = "<several numbers>"
"""How numbers print that are not the same for all candidates."""


class DivergentBranch(Exception):
    """The code branches here, and the candidates do not all go the same way.

    No error: whoever hands batches to code catches it.

    Attributes:
        mask: bool array (candidate,), True for those that go one way.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        super().__init__(f"{mask.sum()} of {mask.size} candidates part ways here")


class Batch:
    """A whole number for each candidate, exact however large.

    Attributes:
        array: int64 array (candidate,), or Python's integers (dtype object) where products
            could leave 64 bits; bool after a comparison.
        most: bound of the absolute values, from which it is known when they could.
    """

    __slots__ = ("array", "most")

    def __init__(self, array: NDArray[Any], most: int | None = None) -> None:
        if most is None or array.dtype.hasobject:
            most = max(map(abs, array.tolist()), default=0)
            if array.dtype.hasobject and most <= INT64_MOST:
                array = array.astype(np.int64)
        self.array = array
        self.most = most

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Batch:
        """A batch of Python's integers."""
        return cls(np.array(list(numbers), dtype=object))

    def maximum(self, other: Any) -> Batch:
        """The larger of this and `other`."""
        return self._apply(np.maximum, self, other, max(self.most, most_of(other)))

    def take(self, indices: NDArray[np.integer] | slice) -> Batch:
        """Those at `indices`."""
        return Batch(self.array[indices], self.most)

    def _apply(self, act: Callable[[Any, Any], Any], left: Any, right: Any, most: int = 1) -> Batch:
        """`act` on two sides of which one is this; `most` bounds the result."""
        one, left_most = (left.array, left.most) if isinstance(left, Batch) else (left, abs(left))
        two, right_most = (
            (right.array, right.most) if isinstance(right, Batch) else (right, abs(right))
        )
        if most > INT64_MOST or left_most > INT64_MOST or right_most > INT64_MOST:
            one, two = (x.astype(object) if isinstance(x, np.ndarray) else x for x in (one, two))
        return Batch(act(one, two), most)

    def __add__(self, other: Any) -> Batch:
        if isinstance(other, int) and other == 0:
            return self  # with which sums begin
        return self._apply(operator.add, self, other, self.most + most_of(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Batch:
        return self._apply(operator.sub, self, other, self.most + most_of(other))

    def __rsub__(self, other: int) -> Batch:
        return self._apply(operator.sub, other, self, self.most + most_of(other))

    def __mul__(self, other: Any) -> Batch:
        return self._apply(operator.mul, self, other, self.most * most_of(other))

    def __rmul__(self, other: int) -> Batch:
        return self if other == 1 else self * other  # products begin with 1

    def __floordiv__(self, other: Any) -> Batch:
        if isinstance(other, int) and other == 1:
            return self  # one group, which most convolutions have
        return self._apply(operator.floordiv, self, other, self.most + 1)

    def __rfloordiv__(self, other: int) -> Batch:
        return self._apply(operator.floordiv, other, self, most_of(other) + 1)

    def __mod__(self, other: Any) -> Any:
        if isinstance(other, int) and other == 1:
            return 0  # as above
        return self._apply(operator.mod, self, other, most_of(other))

    def __neg__(self) -> Batch:
        return Batch(-self.array, self.most)

    def __or__(self, other: Any) -> Batch:
        return self._apply(operator.or_, self, other)

    __ror__ = __or__

    def __lt__(self, other: Any) -> Batch:
        return self._apply(operator.lt, self, other)

    def __le__(self, other: Any) -> Batch:
        return self._apply(operator.le, self, other)

    def __gt__(self, other: Any) -> Batch:
        return self._apply(operator.gt, self, other)

    def __ge__(self, other: Any) -> Batch:
        return self._apply(operator.ge, self, other)

    def __eq__(self, other: object) -> Any:
        return not isinstance(other, str) and self._apply(operator.eq, self, other)

    def __ne__(self, other: object) -> Any:
        return isinstance(other, str) or self._apply(operator.ne, self, other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        """The way that all candidates go.

        Raises:
            DivergentBranch: they do not all go the same way.
        """
        mask = self.array.astype(bool, copy=False)
        if mask.all():
            return True
        if mask.any():
            raise DivergentBranch(mask)
        return False

    def __index__(self) -> int:
        """The number that all candidates share, for `range`.

        Raises:
            DivergentBranch: they do not share one.
        """
        first = self.array[0]
        mask = self.array == first
        if not mask.all():
            raise DivergentBranch(mask)
        return int(first)

    def __format__(self, spec: str) -> str:
        """The number that all candidates share, or `SEVERAL`, which only messages may hold."""
        first = self.array[0]
        return format(int(first), spec) if (self.array == first).all() else SEVERAL


class FractionBatch:
    """A fraction in lowest terms for each candidate, for shares and rates."""

    __slots__ = ("denominator", "numerator")

    def __init__(self, numerator: Batch, denominator: Batch) -> None:
        self.numerator = numerator
        self.denominator = denominator

    def __gt__(self, other: int) -> Batch:
        return self.numerator > other * self.denominator

    def __rsub__(self, other: int) -> FractionBatch:
        return FractionBatch(other * self.denominator - self.numerator, self.denominator)

    def __bool__(self) -> bool:
        return bool(self.numerator != 0)

    def __format__(self, spec: str) -> str:
        return SEVERAL


def most_of(number: Any) -> int:
    """A bound of the absolute value of a number, or of those of a batch."""
    return number.most if isinstance(number, Batch) else abs(number)
