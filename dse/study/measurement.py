"""What one training run says of a candidate."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from dse.errors import DIVERGED
from dse.study.fields import Count, Rule, Seconds, Share


def is_base64(text: str) -> bool:
    """Whether `unpack_bits` can read it."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError:  # binascii's is one
        return False
    return True


Bits = Annotated[str, Rule("base64, as `pack_bits` writes it", is_base64)]


@dataclass(frozen=True)
class Measurement:
    """The result of training one candidate with one seed; accuracies are fractions.

    Attributes:
        status: `finished`, or `failed` with a `reason`.
        reason: why it failed; empty otherwise.
        validation_accuracy, test_accuracy: share of images whose best class is right.
        train_loss: mean loss over the last epoch.
        epochs: passes over the training images that were completed.
        train_s: seconds spent in training steps, compilation aside.
        compile_s: seconds spent on compilation (or on reading it from the cache).
        images_per_s: training images a second.
        latency_s: seconds for one image on one CPU thread; None where it was not measured.
        validation_correct, test_correct: which images are right, as `pack_bits` writes it;
            empty where they were not scored.
    """

    status: Literal["finished", "failed"]
    reason: str = ""
    validation_accuracy: Share | None = None
    test_accuracy: Share | None = None
    train_loss: float | None = None
    epochs: Count = 0
    train_s: Seconds = 0.0
    compile_s: Seconds = 0.0
    images_per_s: float = 0.0
    latency_s: Seconds | None = None
    validation_correct: Bits = ""
    test_correct: Bits = ""

    @property
    def is_machine_fault(self) -> bool:
        """Whether it says of a fault of the machine that the candidate failed, as dse once did."""
        return self.status == "failed" and not self.reason.startswith(DIVERGED)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self)

    def with_compile_s(self, seconds: float) -> Measurement:
        """The same with another compile time: a second seed finds the program compiled."""
        return replace(self, compile_s=seconds)


def pack_bits(values: np.ndarray) -> str:
    """A bool array (image,) as text: eight values a byte, then base64."""
    return base64.b64encode(np.packbits(values).tobytes()).decode()


def unpack_bits(text: str, count: int) -> np.ndarray:
    """The inverse of `pack_bits`: bool (count,).

    Raises:
        ValueError: the text does not hold `count` values.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if len(packed) != -(-count // 8):
        raise ValueError(f"{len(packed)} bytes, but {count} values take {-(-count // 8)}")
    return np.unpackbits(packed, count=count).astype(bool)
