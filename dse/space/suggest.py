"""Drawing candidates in a study of one's own, with Optuna or anything that asks like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dse.architecture import Candidate, Value, make_candidate
from dse.space.domains import Categorical, FloatRange, IntRange
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
    values = {
        name: _suggest_one(name, domain, trial) if name in space.varying else domain.values()[0]
        for name, domain in space.domains.items()
    }
    return make_candidate(space.family, values)


def _suggest_one(name: str, domain: Any, trial: Trial) -> Value:
    if isinstance(domain, IntRange):
        return trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
    if isinstance(domain, FloatRange):
        number = trial.suggest_float(
            name, domain.low, domain.high, step=domain.step, log=domain.log
        )
        # Optuna adds up steps in binary: 0.1 + 2 · 0.1 is 0.30000000000000004 there.
        on_steps = domain.values() if domain.step is not None else (number,)
        return min(on_steps, key=lambda value: abs(float(value) - number))  # type: ignore[arg-type]
    assert isinstance(domain, Categorical)
    words: Mapping[Any, Value] = {scalar(value): value for value in domain.values()}
    return words[trial.suggest_categorical(name, list(words))]
