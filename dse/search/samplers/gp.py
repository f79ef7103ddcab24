"""`gp`: a Gaussian process for the accuracy, and the hypervolume that it lets expect.

Sources: Rasmussen and Williams 2006 (Gaussian processes); Emmerich, Giannakoglou and Naujoks
2006 (expected hypervolume improvement), which with exact sizes is a sum of one-dimensional
expected improvements; Knowles 2006 (ParEGO: several sizes become one by random weights);
Ginsbourger, Le Riche and Carraro 2010 (believing the prediction of what is in training).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from dse.search.samplers.features import features, is_ordered
from dse.search.samplers.ranking import best
from dse.search.samplers.sampler import Floats, History, Ints, PoolLike, unseen
from dse.search.samplers.sizes import log_sizes, one_size, start_up
from dse.stats.pareto import LARGEST_SIZE

LEAST_OBSERVATIONS = 2
"""Measured candidates before the process is asked."""


def domains_problem(pool: PoolLike, name: str = "gp") -> str | None:
    """Why a Gaussian process, the sampler `name`, has nothing to learn from; None: it fits."""
    if not pool.varying or is_ordered(pool).any():
        return None
    names = ", ".join(pool.varying)
    return (
        f"sampler {name} needs a metaparameter whose values have an order (a range, or a list of "
        f"numbers), but {pool.space.name} varies only {names}, by lists of words or layers; "
        "take tpe, nsga2 or random"
    )


@dataclass(frozen=True)
class Beliefs:
    """What a Gaussian process believes of accuracies at full fidelity.

    Attributes:
        open_: int array (candidate,), of the pool: those that are compared.
        size: float array (candidate of the pool,), in [0, 1]: the size of this ask.
        mean: float array (candidate,), of the accuracy of each in `open_`.
        deviation: float array (candidate,), its standard deviation.
        asked: int array (point,), of the pool: measured, or still in training.
        asked_mean: float array (point,).
        asked_deviation: float array (point,), with what is measured alone.
    """

    open_: Ints
    size: Floats
    mean: Floats
    deviation: Floats
    asked: Ints
    asked_mean: Floats
    asked_deviation: Floats

    @property
    def volume_gain(self) -> Floats:
        """Hypervolume that each candidate is expected to add."""
        return expected_gain(
            self.size[self.open_],
            self.mean,
            self.deviation,
            front_sizes=self.size[self.asked],
            front_accuracies=self.asked_mean,
        )


@dataclass(frozen=True)
class GpSampler:
    """For few and costly trials: an ask takes 0.05 s with 100 measured candidates, 0.3 with 200.

    Domains that fit: ranges and lists of numbers; lists of words or layers beside them are
    coordinates of 0 and 1. A space that varies nothing else is refused (`domains_problem`).
    Parameters and MACs are coordinates, and so is the rung: what was measured after few epochs
    informs about many. A candidate that is still in training, or failed, counts as if it were
    measured and as good as expected, so that asks made meanwhile look elsewhere.

    Attributes:
        most_observations: learnt from; the best and a random rest where there are more.
        most_candidates: of the pool that are compared in one ask; a random choice.
        rises: accuracy is expected to rise with log size, as fast as what is measured says.
    """

    name: str = "gp"
    most_observations: int = 200
    most_candidates: int = 2000
    rises: bool = False

    def ask(
        self, pool: PoolLike, history: History, sizes: Floats, rng: np.random.Generator
    ) -> int | None:
        """See `Sampler.ask`."""
        open_ = unseen(pool, history)
        if not len(open_):
            return None
        size = one_size(log_sizes(sizes), rng)
        if history.is_measured.sum() < LEAST_OBSERVATIONS:
            return start_up(size, open_, history, rng)
        beliefs = self._learnt(pool, history, size, open_, rng)
        return int(beliefs.open_[np.argmax(self._gain(beliefs, history))])

    def _gain(self, beliefs: Beliefs, history: History) -> Floats:
        """What measuring each candidate is worth; the most is asked."""
        return beliefs.volume_gain

    def _learnt(
        self,
        pool: PoolLike,
        history: History,
        size: Floats,
        open_: Ints,
        rng: np.random.Generator,
    ) -> Beliefs:
        if len(open_) > self.most_candidates:
            open_ = rng.choice(open_, self.most_candidates, replace=False)
        known = self._observations(history, np.flatnonzero(history.is_measured), size, rng)
        asked, rungs = history.indices[known], history.rungs[known]
        accuracies = history.accuracies[known]
        centre, slope = accuracies.mean(), 0.0
        if self.rises and (across := size[asked] - size[asked].mean()).any():
            slope = max(0.0, float(across @ accuracies / (across @ across)))

        def trend(rows: Ints) -> Floats:
            line: Floats = centre + slope * (size[rows] - size[asked].mean())
            return line

        left = accuracies - trend(asked)
        spread = (left if slope else accuracies).std() or 1.0
        costs = log_sizes(np.column_stack([pool.costs["params_count"], pool.costs["macs"]]))
        top = rungs.max()

        def place(rows: Ints, rung: Ints | int) -> Floats:
            height = np.broadcast_to(rung, len(rows)) / max(1, top)
            return np.column_stack([features(pool, rows), costs[rows], height])

        points, targets = place(asked, rungs), left / spread
        process = first = _fit(points, targets)
        waiting = history.indices[~history.is_measured][-self.most_observations :]
        if len(waiting):
            places = place(waiting, top)
            believed, _ = _predict(process, places)
            points, targets = np.concatenate([points, places]), np.concatenate([targets, believed])
            process = _refit(process, points, targets)
        mean, deviation = _predict(process, place(open_, top))
        points_of = np.concatenate([asked, waiting])
        at_top = place(points_of, top)
        believed, doubt = _predict(process, at_top)
        if process is not first:
            doubt = _predict(first, at_top)[1]
        return Beliefs(
            open_,
            size,
            trend(open_) + spread * mean,
            spread * deviation,
            points_of,
            trend(points_of) + spread * believed,
            spread * doubt,
        )

    def _observations(
        self, history: History, measured: Ints, size: Floats, rng: np.random.Generator
    ) -> Ints:
        if len(measured) <= self.most_observations:
            return measured
        points = np.column_stack([size[history.indices], -history.accuracies])[measured]
        first = best(points, history.rungs[measured], self.most_observations // 2)
        rest = np.setdiff1d(np.arange(len(measured)), first)
        rest = rng.choice(rest, self.most_observations - len(first), replace=False)
        return np.sort(measured[np.concatenate([first, rest])])


def expected_gain(
    size: Floats,
    mean: Floats,
    deviation: Floats,
    *,
    front_sizes: Floats,
    front_accuracies: Floats,
) -> Floats:
    """Hypervolume over (size, accuracy) that a candidate is expected to add.

    A candidate of exact size s and normal accuracy a adds the integral over all sizes t >= s
    of max(0, a - f(t)), where f(t) is the best accuracy known up to size t: a step function,
    so the expectation is a sum over its steps of width times expected improvement.

    Args:
        size: float array (candidate,), in [0, 1].
        mean: float array (candidate,), of its accuracy.
        deviation: float array (candidate,), its standard deviation.
        front_sizes: float array (point,), of what is known, in any order.
        front_accuracies: float array (point,).

    Returns:
        Float array (candidate,).
    """
    from scipy.stats import norm

    order = np.lexsort([-front_accuracies, front_sizes])
    steps = np.maximum.accumulate(np.maximum(front_accuracies[order], 0.0))
    starts = np.concatenate([[0.0], front_sizes[order]])
    levels = np.concatenate([[0.0], steps])
    ends = np.append(starts[1:], LARGEST_SIZE)
    widths = np.maximum(0.0, ends - np.maximum(starts, size[:, None]))
    sigma = np.maximum(deviation, 1e-9)[:, None]
    z = (mean[:, None] - levels) / sigma
    gain: Floats = (widths * sigma * (z * norm.cdf(z) + norm.pdf(z))).sum(axis=1)
    return gain


def _fit(points: Floats, targets: Floats) -> Any:
    """A process with one length scale a coordinate, by maximum likelihood."""
    from scipy.optimize import minimize
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    def optimise(objective: Any, initial: Floats, bounds: Floats) -> tuple[Floats, float]:
        found = minimize(
            objective, initial, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 20}
        )
        return found.x, found.fun

    # Coordinates range over 1: half of that is as sharp a bend as a few dozen points can show.
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
        np.ones(points.shape[1]), (0.5, 30.0), nu=2.5
    ) + WhiteKernel(0.01, (1e-5, 1.0))
    process = GaussianProcessRegressor(kernel, optimizer=optimise)
    with warnings.catch_warnings():
        # A length scale at its bound says that a metaparameter does not matter: no news.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(points, targets)
    return process


def _refit(process: Any, points: Floats, targets: Floats) -> Any:
    """The process with the same kernel, and other points."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    return GaussianProcessRegressor(process.kernel_, optimizer=None).fit(points, targets)


def _predict(process: Any, points: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the accuracy itself, without the noise of measuring."""
    mean, deviation = process.predict(points, return_std=True)
    noise = process.kernel_.k2.noise_level
    return mean, np.sqrt(np.maximum(deviation**2 - noise, 0.0))
