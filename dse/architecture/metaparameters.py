"""What a metaparameter may be, and the sentence that says why a value may not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Value = int | float | str | tuple[str, ...]
"""A value of a metaparameter; a tuple of names for `pools`."""

AUTO = "auto"

_NAME_MOST = 40
"""Characters of a layer's name; there are none as long."""
_SHOWN_MOST = 200
"""Characters of a bad value that a message repeats."""


@dataclass(frozen=True)
class Metaparameter:
    """One setting of a family.

    Attributes:
        name: as in the paper where the paper has it.
        kind: `int`, `float`, `choice` (one of `choices`), or `layers` (one of `choices`,
            or a list of layer names).
        default: taken where a space or a candidate says nothing.
        description: one line, with units where there are any.
        low, high: bounds of a number, included unless `open_low`, `open_high`.
        choices: words that are allowed, also beside numbers (`auto`).
        of_head: whether it is about the last layer alone, which new classes replace.
        example: ends the message about a bad value ("SqueezeNet v1.0 uses 0.125").
    """

    name: str
    kind: Literal["int", "float", "choice", "layers"]
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    example: str = ""
    of_head: bool = False

    @property
    def allowed(self) -> str:
        """What is allowed, in words: `in (0, 1]`, `one of none, simple, complex`."""
        words = f"one of {', '.join(self.choices)}"
        if self.kind == "choice":
            return words
        if self.kind == "layers":
            return f"{words}, or a list of layer names such as [conv1, fire4]"
        noun = "a whole number" if self.kind == "int" else "a number"
        if self.high is None:
            numbers = f"{noun} of at least {self.low:g}"
        else:
            left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
            numbers = f"{left}{self.low:g}, {self.high:g}{right}"
            numbers = f"{noun} in {numbers}" if self.kind == "int" else f"in {numbers}"
        return f"{' or '.join(self.choices)} or {numbers}" if self.choices else numbers

    def problem(self, value: object) -> str | None:
        """Why `value` is refused, as one line, or None where it is fine."""
        if self._fits(value):
            return None
        found = repr(list(value)) if isinstance(value, tuple) else repr(value)
        found = found if len(found) <= _SHOWN_MOST else f"{found[:_SHOWN_MOST]}…"
        hint = f"; {self.example}" if self.example else ""
        if isinstance(value, str) and self._fits_unquoted(value):
            hint = f"; write it without quotes{hint}"
        return f"{self.name} is {found}, but must be {self.allowed}{hint}"

    def canonical(self, value: Value) -> Value:
        """The one form of a value: 1 and 1.0 are the same share, lists of layers are sorted."""
        if self.kind == "float":
            return float(value) + 0.0  # type: ignore[arg-type]  # -0.0 becomes 0.0
        if isinstance(value, tuple | list):
            order = [(int("".join(filter(str.isdecimal, name)) or 0), name) for name in set(value)]
            return tuple(name for _, name in sorted(order))
        return value

    def _fits(self, value: object) -> bool:
        if isinstance(value, str):
            return value in self.choices
        if self.kind == "layers":
            return isinstance(value, tuple | list) and all(
                isinstance(name, str) and 0 < len(name) <= _NAME_MOST for name in value
            )
        if self.kind == "choice" or isinstance(value, bool):
            return False
        if not isinstance(value, int if self.kind == "int" else int | float):
            return False
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def _fits_unquoted(self, text: str) -> bool:
        for convert in (int, float):
            try:
                return self._fits(convert(text))
            except ValueError:
                continue
        return False
