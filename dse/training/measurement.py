"""What one training run says of a candidate."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Measurement:
    """The result of training one candidate with one seed; accuracies are fractions.

    Attributes:
        status: `finished`, or `failed` with a `reason`.
        reason: why it failed; empty otherwise.
        validation_accuracy, test_accuracy: share of pictures whose best class is right.
        train_loss: mean loss over the last epoch.
        epochs: passes over the training pictures that were completed.
        train_s: seconds spent in training steps, compilation aside.
        compile_s: seconds spent on compilation (or on reading it from the cache).
        images_per_s: training pictures a second.
    """

    status: Literal["finished", "failed"]
    reason: str = ""
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    train_loss: float | None = None
    epochs: int = 0
    train_s: float = 0.0
    compile_s: float = 0.0
    images_per_s: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self)

    def with_compile_s(self, seconds: float) -> Measurement:
        """The same with another compile time: a second seed finds the program compiled."""
        return replace(self, compile_s=seconds)
