"""How much a search may spend."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from dse.errors import ConfigError

SEARCH_SHARE = 0.6
"""Of a budget of time or epochs, what the search spends at most; the finals have the rest."""

_UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]+)\s*")
_LONGEST, _SHOWN = 1000, 40
"""Characters that are looked at (of more the pattern would try each place to end) and shown."""


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        kind: `time` in seconds of all that the user waits for; `epochs` of search and finals
            together; `trials`: candidates that are sampled, with finals of whatever they take.
        amount: above 0.
    """

    kind: Literal["time", "epochs", "trials"]
    amount: float

    def __str__(self) -> str:
        if self.kind != "time":
            noun = self.kind.removesuffix("s") if self.amount == 1 else self.kind
            return f"{self.amount:.0f} {noun}"
        for unit in ("d", "h", "m"):
            if self.amount % _UNITS_S[unit] == 0:
                return f"{self.amount / _UNITS_S[unit]:.0f}{unit}"
        return f"{self.amount:g}s"


def parse_budget(text: str) -> Budget:
    """A budget as it is written on the command line: `90s`, `60m`, `1.5h`, `40trials`, `500epochs`.

    Raises:
        ConfigError: anything else, or nothing at all to spend.
    """
    match = _PATTERN.fullmatch(text.lower()) if len(text) <= _LONGEST else None
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    unit = match[2] if match else ""
    kinds: dict[str, Literal["epochs", "trials"]] = {
        **dict.fromkeys(("epoch", "epochs"), "epochs"),
        **dict.fromkeys(("trial", "trials"), "trials"),
    }
    if match is None or unit not in (*_UNITS_S, *kinds):
        raise ConfigError(
            f"the budget is {shown!r}, but must be a time, trials or epochs: 90s, 60m, 1.5h, "
            "40trials, 500epochs"
        )
    amount = float(match[1]) * _UNITS_S.get(unit, 1.0)
    if not 0 < amount < math.inf or (unit in kinds and amount < 1):
        raise ConfigError(f"the budget is {shown!r}, but must be finite and above 0")
    if unit in kinds:
        return Budget(kinds[unit], float(math.floor(amount)))
    return Budget("time", amount)
