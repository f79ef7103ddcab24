"""Which metaparameters matter for the accuracy of networks of one size.

Every candidate gets one number, how far its accuracy lies above what its size alone would
give; a random forest predicts that number from the metaparameters; and a metaparameter is as
important as the prediction gets worse when its values are shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.report.tables.summary import StudyTable, varying
from dse.study.table import is_search, parse_curve

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

LEAST_CANDIDATES_COUNT = 20
_LEAST_RUNG_COUNT = 8
_DRAWS_COUNT = 30
_TREES_COUNT = 40
_SHUFFLES_COUNT = 5
_SIZE_DEGREE = 2


@dataclass(frozen=True)
class Importance:
    """How much one metaparameter explains at equal size.

    Attributes:
        name: of the metaparameter.
        mean: over the draws: the share of the variance at equal size that goes back to it,
            alone or together with others; about 0, above or below, where it does not matter.
        low: the 2.5% quantile over the draws.
        high: the 97.5% quantile.
    """

    name: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """The metaparameters of a study, the most important first.

    Attributes:
        parts: one for each that varies.
        explained: the share of the residual variance that the forest explains on candidates
            that it has not seen: mean over the draws; at most 1, below 0 for none.
        candidates_count: how many candidates the numbers stand on.
        finished_count: how many of them were trained to the end.
    """

    parts: tuple[Importance, ...]
    explained: float
    candidates_count: int
    finished_count: int


def importances(
    study: StudyTable, *, size: str = "params_count", seed: int = 0
) -> Importances | None:
    """Importance of each varying metaparameter for the accuracy at equal size.

    1. At each rung (epochs) the accuracy of all candidates that were measured there is fitted
       by a quadratic in log10 of the size; what is left is the residual. A candidate that was
       promoted counts with its residual at its last rung, shifted and scaled so that the
       promoted keep the mean and the spread that they had at the rung below: otherwise the
       very lead that got them promoted would be lost, and with it whatever caused it. Rungs
       with fewer than 8 candidates are left out. Where there are no curves (a sweep) this is
       the residual of the finished candidates' means.
    2. 30 times a random forest is trained on as many candidates drawn with replacement, and
       scored on those that were not drawn. Half of the rise of the mean squared error when one
       metaparameter's values are shuffled among these (mean of 5 shuffles), divided by the
       variance, is its importance: for values drawn independently this is the total-effect
       Sobol index. The interval is that over the 30 draws. Metaparameters that go together
       share their importance.

    Args:
        study: a search, or a sweep with enough candidates.
        size: what equal size is measured by.
        seed: of draws, forests and shuffles: the same table gives the same numbers.

    Returns:
        None where fewer than 20 candidates are left, nothing varies, or size explains all.

    Source: Breiman 2001, "Random forests", section 10, for shuffling; Gregorutti, Michel and
        Saint-Pierre 2017, "Correlation and variable importance in random forests", for the half.
    """
    names = varying(study.trials)
    rungs = _accuracies(study.trials)
    first = study.trials.drop_duplicates("candidate").set_index("candidate")
    logs = np.log10(np.maximum(first[size].to_numpy(dtype=float), 1))
    residuals = _residuals(logs, rungs.loc[first.index].to_numpy(dtype=float))
    is_known = ~np.isnan(residuals)
    if not names or is_known.sum() < LEAST_CANDIDATES_COUNT or np.ptp(residuals[is_known]) < 1e-9:
        return None
    # Numbers as they are; words by their place in the alphabet, which trees can split.
    coded = [
        first[name].to_numpy(dtype=float)
        if first[name].dtype.kind in "if"
        else np.unique(first[name].astype(str), return_inverse=True)[1].astype(float)
        for name in names
    ]
    features = np.column_stack(coded)[is_known]
    shares, scores = _shuffled(features, residuals[is_known], np.random.default_rng(seed))
    lows, highs = np.quantile(shares, [0.025, 0.975], axis=0)
    parts = [
        Importance(name, float(shares[:, at].mean()), float(lows[at]), float(highs[at]))
        for at, name in enumerate(names)
    ]
    finished = study.trials.loc[study.trials["status"] == "finished", "candidate"]
    return Importances(
        parts=tuple(sorted(parts, key=lambda part: -part.mean)),
        explained=float(scores.mean()),
        candidates_count=int(is_known.sum()),
        finished_count=int(first.index[is_known].isin(set(finished)).sum()),
    )


def _accuracies(trials: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy over the seeds by candidate and epochs, NaN where not measured."""
    import pandas as pd

    cells = []
    curves = trials["curve"] if is_search(trials) else [""] * len(trials)
    ends = zip(trials["candidate"], trials["epochs"], trials["validation_accuracy"], strict=True)
    for (candidate, epochs, accuracy), text in zip(ends, curves, strict=True):
        curve = dict(parse_curve(text))
        if not np.isnan(accuracy) and not np.isnan(epochs):
            curve[int(epochs)] = accuracy
        cells += [(candidate, count, value) for count, value in curve.items()]
    table = pd.DataFrame(cells, columns=["candidate", "epochs", "accuracy"])
    by_rung = table.groupby(["candidate", "epochs"])["accuracy"].mean().unstack()
    return by_rung.reindex(trials["candidate"].unique())


def _residuals(logs: Floats, accuracies: Floats) -> Floats:
    """How far each candidate's accuracy lies above what its size gives, in fractions.

    Args:
        logs: float array (candidate,), log10 of the size.
        accuracies: float array (candidate, rung), rungs rising; NaN where not measured.
    """
    residuals = np.full(len(logs), np.nan)
    for column in accuracies.T:
        here = ~np.isnan(column)
        if here.sum() < _LEAST_RUNG_COUNT:
            continue
        degree = min(_SIZE_DEGREE, len(np.unique(logs[here])) - 1)
        design = np.vander(logs[here] - logs[here].mean(), degree + 1, increasing=True)
        weights, *_ = np.linalg.lstsq(design, column[here], rcond=None)
        found = column[here] - design @ weights
        before = residuals[here]
        was_known = ~np.isnan(before)
        if was_known.sum() > 1:
            spread, now = before[was_known].std(), found[was_known].std()
            found = (found - found[was_known].mean()) * (spread / now if now > 0 else 1.0)
            found += before[was_known].mean()
        residuals[here] = found
    return residuals


def _shuffled(
    features: Floats, residuals: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Importance (draw, metaparameter) on the candidates left out, and R² there (draw,)."""
    from sklearn.ensemble import RandomForestRegressor

    count, width = features.shape
    shares, scores = np.zeros((_DRAWS_COUNT, width)), np.zeros(_DRAWS_COUNT)
    for draw in range(_DRAWS_COUNT):
        drawn = rng.integers(count, size=count)
        out = np.setdiff1d(np.arange(count), drawn)
        forest = RandomForestRegressor(
            _TREES_COUNT, min_samples_leaf=2, random_state=int(rng.integers(2**31))
        ).fit(features[drawn], residuals[drawn])
        tables = [features[out]]
        for column in range(width):
            for _ in range(_SHUFFLES_COUNT):
                table = features[out].copy()
                table[:, column] = rng.permutation(table[:, column])
                tables.append(table)
        predicted: Any = forest.predict(np.concatenate(tables)).reshape(len(tables), len(out))
        errors = ((predicted - residuals[out]) ** 2).mean(axis=1) / residuals.var()
        scores[draw] = 1 - errors[0]
        shuffled = errors[1:].reshape(width, _SHUFFLES_COUNT).mean(axis=1)
        shares[draw] = (shuffled - errors[0]) / 2
    return shares, scores
