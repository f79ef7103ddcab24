"""A closed-form accuracy surface over a shipped space: what training would say, at no cost.

Sizes are real: the parameters of every feasible candidate of `search_spaces/squeezenet.yaml`
for 32x32x3 images of 10 classes, counted by the tool. Accuracies are made up, with the
magnitudes of small SqueezeNets on CIFAR-10. In points (hundredths), for a candidate with P
parameters, x = log10 P, squeeze ratio s, share of 3x3 filters p, and so on:

    asymptote  A = 88 - 55·10^(-0.45·(x - 3)) + Q + w·r1
    quality    Q = - 0.6·(log2 s + 1)^2 - 16·(p - 1/2)^2 - 0.4·(log2(base_e/incr_e) - 1)^2
                   + {none: 0, simple: 1, complex: 0.6}[bypass]·(1.5 - s)
                   + {late: 0, early: -2.5}[pools] + 0.3·[freq is 4]
    speed      k = 1 + v·(0.10·(x - 4) + 0.05·log2(2·s) + 0.08·[bypass is simple]
                   + 0.12·[pools is early] + 0.08·r2)
    accuracy after e epochs   a(e) = A - (A - 10)·(1 + e)^-k      (chance, 10, after none)
    measured                  a(e) + n(e)

r1 and r2 are what no model can learn: sines of the levels of all metaparameters, between
-1 and 1 and different for every candidate. The noise n(e) of one (seed, candidate) is
normal with standard deviation n·(E/e)^(1/4) for E epochs in full, and correlation
0.7^|log3(e/e')| along the curve. Early pools and simple bypasses learn fast, so curves cross.

`EASY` and `HARD` differ in w (0.5 and 1 point), v (1 and 2) and n (0.5 and 1 point).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dse.config import find_space, load_space
from dse.space.enumerate import Pool, make_pool

Floats = NDArray[np.float64]

INPUT_SHAPE = (32, 32, 3)
CLASSES_COUNT = 10
SPACE = "squeezenet.yaml"
FULL_EPOCHS = 27
CORRELATION = 0.7
CHANCE = 1 / CLASSES_COUNT


@dataclass(frozen=True)
class Difficulty:
    """What makes early ranks say less: all in the docstring of this file.

    Attributes:
        ripple: points of accuracy that no model of the metaparameters explains.
        crossing: how much the speed of learning differs between candidates.
        noise: standard deviation between seeds at full fidelity, in points.
    """

    name: str
    ripple: float
    crossing: float
    noise: float


EASY = Difficulty("easy", ripple=0.5, crossing=1.0, noise=0.5)
HARD = Difficulty("hard", ripple=1.0, crossing=2.0, noise=1.0)


@dataclass(frozen=True)
class Surface:
    """Every feasible candidate of the space, with its size and its learning curve.

    Attributes:
        pool: the candidates, with their exact costs.
        params_counts: int array (candidate,).
        asymptotes: float array (candidate,), a fraction.
        speeds: float array (candidate,), k in the docstring of this file.
        difficulty: which surface it is.
    """

    pool: Pool
    params_counts: NDArray[np.int64]
    asymptotes: Floats
    speeds: Floats
    difficulty: Difficulty

    def __len__(self) -> int:
        return len(self.params_counts)

    def expected(self, epochs: Sequence[int]) -> Floats:
        """Accuracy without noise after each number of epochs: (candidate, epochs), a fraction."""
        left = (1 + np.asarray(epochs, dtype=np.float64)) ** -self.speeds[:, None]
        return self.asymptotes[:, None] - (self.asymptotes[:, None] - CHANCE) * left

    def wanted(self, share: float) -> tuple[float, int]:
        """The accuracy this share of the way from the lowest to the highest in full, a fraction,
        and the fewest parameters of a candidate that truly has it.
        """
        true = self.expected([FULL_EPOCHS])[:, 0]
        level = float(true.min() + share * (true.max() - true.min()))
        return level, int(self.params_counts[true >= level].min())

    def measured(self, epochs: Sequence[int], seed: int) -> Floats:
        """What a study of this seed measures: (candidate, epochs), a fraction.

        The last column, full fidelity, is the same for every ladder that ends there.
        """
        steps = np.log(np.asarray(epochs, dtype=np.float64)) / np.log(3)
        # From the top down: the draw of the top does not depend on the rungs below it.
        distance = np.abs(steps[::-1, None] - steps[None, ::-1])
        factor = np.linalg.cholesky(CORRELATION**distance)
        draws = np.random.default_rng(seed).standard_normal((len(epochs), len(self)))
        noise = (factor @ draws)[::-1].T
        sizes = self.difficulty.noise / 100 * (epochs[-1] / np.asarray(epochs)) ** 0.25
        return self.expected(epochs) + noise * sizes


def make_surface(difficulty: Difficulty) -> Surface:
    """The surface of this difficulty; costs of all candidates are counted, below a second."""
    pool = make_pool(load_space(find_space(SPACE)), INPUT_SHAPE, CLASSES_COUNT)
    params_counts = pool.costs["params_count"]
    asymptotes, speeds = _curves(pool, difficulty)
    return Surface(pool, params_counts, asymptotes, speeds, difficulty)


def _curves(pool: Pool, difficulty: Difficulty) -> tuple[Floats, Floats]:
    """Asymptote (a fraction) and speed of each candidate, by the formula of this file."""
    levels, params_counts = pool.levels, pool.costs["params_count"]
    column = {
        name: np.array(list(choices))[levels[:, place]]
        for place, (name, choices) in enumerate(zip(pool.varying, pool.choices, strict=True))
    }
    decades = np.log10(params_counts)
    squeeze = column["squeeze_ratio"].astype(np.float64)
    ratio = np.log2(column["base_e"] / column["incr_e"])
    is_early = column["pools"] == "early"
    is_simple, is_complex = column["bypass"] == "simple", column["bypass"] == "complex"
    ripples = [
        np.sin(levels @ np.linspace(start, end, levels.shape[1]))
        for start, end in ((11.3, 97.7), (53.9, 17.1))
    ]
    asymptotes = (
        88
        - 55 * 10 ** (-0.45 * (decades - 3))
        - 0.6 * (np.log2(squeeze) + 1) ** 2
        - 16 * (column["pct_3x3"].astype(np.float64) - 0.5) ** 2
        - 0.4 * (ratio - 1) ** 2
        + (is_simple + 0.6 * is_complex) * (1.5 - squeeze)
        - 2.5 * is_early
        + 0.3 * (column["freq"] == 4)
        + difficulty.ripple * ripples[0]
    )
    speeds = 1 + difficulty.crossing * (
        0.10 * (decades - 4)
        + 0.05 * np.log2(2 * squeeze)
        + 0.08 * is_simple
        + 0.12 * is_early
        + 0.08 * ripples[1]
    )
    return asymptotes / 100, speeds
