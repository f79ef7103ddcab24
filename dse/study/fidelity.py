"""Fidelity: how much effort one training is, from a cheap look to the full one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering

from dse.errors import LadderError


@total_ordering
@dataclass(frozen=True)
class Fidelity:
    """Effort of one training, ordered by what it costs, at equal cost by epochs.

    Attributes:
        epochs: passes over the training images.
        image_size: side of an image in pixels; None is the size of the data set.
        train_share: share of the training images, in (0, 1].

    Raises:
        LadderError: no epochs, no pixels, or a share outside (0, 1].
    """

    epochs: int
    image_size: int | None = None
    train_share: float = 1.0

    def __post_init__(self) -> None:
        has_size = self.image_size is None or self.image_size >= 1
        if self.epochs < 1 or not has_size or not 0 < self.train_share <= 1:
            raise LadderError(
                "`epochs >= 1`, `image_size >= 1` and `0 < train_share <= 1` must hold, but got "
                f"(epochs={self.epochs}, image_size={self.image_size}, "
                f"train_share={self.train_share})"
            )

    @property
    def cost(self) -> float:
        """Passes over all training images, times the pixels of one where a size is given."""
        return self.epochs * self.train_share * (self.image_size or 1) ** 2

    def __lt__(self, other: Fidelity) -> bool:
        if (self.image_size is None) != (other.image_size is None):
            raise LadderError(f"{self} and {other} cannot be ordered: one has no image size")
        return (self.cost, self.epochs) < (other.cost, other.epochs)

    def __str__(self) -> str:
        size = "" if self.image_size is None else f"@{self.image_size}px"
        return f"{self.epochs}{size}" + ("" if self.train_share == 1 else f"@{self.train_share:g}")


def parse_fidelity(text: str) -> Fidelity:
    """The fidelity that `str` writes: `27`, `9@48px`, `9@48px@0.5`.

    Raises:
        ValueError: the text is something else.
    """
    epochs, *rest = text.split("@")
    sizes = [part for part in rest if part.endswith("px")]
    shares = [part for part in rest if not part.endswith("px")]
    return Fidelity(
        int(epochs),
        int(sizes[0].removesuffix("px")) if sizes else None,
        float(shares[0]) if shares else 1.0,
    )
