"""Drawing candidates in a study of one's own, with Optuna or anything that asks like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dse.architecture import Candidate, Value, make_candidate
from dse.space.domains import FloatRange, IntRange
from dse.space.space import SearchSpace


class Trial(Protocol):
    """What is asked of a trial; `optuna.Trial` has it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of `choices`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """A whole number from `low` to `high`."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """A number from `low` to `high`."""


def scalar(value: Value) -> int | float | str:
    """A value as one word or number: a list of layers is written `conv1 fire4`."""
    return " ".join(value) if isinstance(value, tuple) else value


def suggest(space: SearchSpace, trial: Trial) -> Candidate:
    """Ask `trial` for each metaparameter that varies; fixed ones take their value.

    Limits are not applied: `limits_problem(space.limits, cost(build(candidate, …)).by_name)`
    says which the candidate breaks.

    Args:
        space: any space, infinite ones too.
        trial: an Optuna trial, say.
    """
    values: dict[str, Value] = dict(space.fixed)
    for name in space.varying:
        domain = space.domains[name]
        if isinstance(domain, IntRange):
            ends = domain.low, domain.high
            values[name] = trial.suggest_int(name, *ends, step=domain.step, log=domain.log)
        elif isinstance(domain, FloatRange):
            low, high, step = domain.low, domain.high, domain.step
            number = trial.suggest_float(name, low, high, step=step, log=domain.log)
            # Optuna adds up steps in binary: 0.1 + 2 · 0.1 is 0.30000000000000004 there.
            on_steps: Any = domain.values() if step is not None else (number,)
            values[name] = min(on_steps, key=lambda value: abs(value - number))
        else:
            words = {scalar(value): value for value in domain.values()}
            values[name] = words[trial.suggest_categorical(name, list(words))]
    return make_candidate(space.family, values)
