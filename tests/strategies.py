"""Hypothesis strategies that several packages share: append only."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dse.architecture import OBJECTIVES, Candidate, make_candidate
from dse.architecture.primitives import Shape
from dse.space import Categorical, Fixed, FloatRange, IntRange, Limit, SearchSpace

STEM_KERNELS: list[int | str] = ["auto", 1, 3, 5]
STEM_STRIDES: list[int | str] = ["auto", 1, 2]

input_shapes: st.SearchStrategy[Shape] = st.tuples(
    st.integers(8, 48), st.integers(8, 48), st.sampled_from([1, 3])
)
"""(height, width, channels) of small images; the sides need not be equal."""


@st.composite
def squeezenet_values(draw: st.DrawFn, input_shape: Shape = (16, 16, 3)) -> dict[str, Any]:
    """Metaparameters of a small SqueezeNet that can be built at `input_shape`.

    Every metaparameter varies. Nothing is thrown away: from base_e 4 on, the shares drawn
    here leave no part of a fire module empty, and a list of pools is no longer than fits.
    """
    modules = draw(st.integers(1, 8))
    kernel = draw(st.sampled_from(STEM_KERNELS))
    stride = draw(st.sampled_from(STEM_STRIDES))
    return {
        "base_e": draw(st.integers(4, 24)),
        "incr_e": draw(st.integers(0, 12)),
        "freq": draw(st.integers(1, 9)),
        "pct_3x3": draw(st.integers(25, 75)) / 100,
        "squeeze_ratio": draw(st.integers(13, 100)) / 100,
        "fire_modules": modules,
        "stem_filters": draw(st.one_of(st.just("auto"), st.integers(1, 16))),
        "stem_kernel": kernel,
        "stem_stride": stride,
        "pools": draw(
            st.one_of(
                st.sampled_from(["auto", "late", "early"]),
                _pool_lists(modules, _pools_that_fit(min(input_shape[:2]), kernel, stride)),
            )
        ),
        "bypass": draw(st.sampled_from(["none", "simple", "complex"])),
        "norm": draw(st.sampled_from(["none", "batch"])),
        "dropout": draw(st.sampled_from([0.0, 0.25, 0.5])),
        "final_activation": draw(st.sampled_from(["none", "relu"])),
    }


def squeezenet_candidates(input_shape: Shape = (16, 16, 3)) -> st.SearchStrategy[Candidate]:
    """Candidates of small widths that can be built at `input_shape`."""
    return squeezenet_values(input_shape).map(lambda values: make_candidate("squeezenet", values))


@st.composite
def squeezenet_candidates_with_input(draw: st.DrawFn) -> tuple[Candidate, Shape]:
    """A candidate and the shape of the images that it can be built for."""
    input_shape = draw(input_shapes)
    return draw(squeezenet_candidates(input_shape)), input_shape


def _pools_that_fit(side: int, kernel: int | str, stride: int | str) -> int:
    """3x3/2 pools that fit behind the stem; below 48 pixels `auto` is 3x3/1."""
    large = side >= 48
    kernel = 3 if kernel == "auto" else int(kernel)
    stride = (2 if large else 1) if stride == "auto" else int(stride)
    side = len(range(0, side + 2 * (kernel // 2) - kernel + 1, stride))
    count = 0
    while side >= 3:
        side = len(range(0, side - 3, 2)) + 1
        count += 1
    return count


def _pool_lists(modules: int, most: int) -> st.SearchStrategy[list[str]]:
    names = ["conv1", *(f"fire{number}" for number in range(2, modules + 2))]
    return st.lists(st.sampled_from(names), unique=True, max_size=min(most, len(names)))


@st.composite
def finite_spaces(draw: st.DrawFn) -> SearchSpace:
    """Finite search spaces of the squeezenet family with every kind of domain."""
    shares = st.integers(1, 99).map(lambda percent: percent / 100)
    whole = st.integers(1, 200)
    pools = st.one_of(
        st.sampled_from(["auto", "late", "early"]),
        st.lists(st.sampled_from(["conv1", "fire2", "fire4"]), unique=True).map(
            lambda names: tuple(sorted(names))
        ),
    )
    domains = {
        "base_e": st.one_of(
            whole.map(Fixed),
            st.builds(
                lambda low, span, step: IntRange(low, low + span, step),
                whole,
                st.integers(0, 12),
                st.integers(1, 5),
            ),
            st.builds(lambda low, span: IntRange(low, low + span, log=True), whole, whole),
        ),
        "squeeze_ratio": st.one_of(
            shares.map(Fixed),
            _choices(shares),
            st.builds(
                lambda ends, step: FloatRange(min(ends), max(ends), step),
                st.tuples(shares, shares),
                st.integers(10, 50).map(lambda percent: percent / 100),
            ),
        ),
        "bypass": _choices(st.sampled_from(["none", "simple", "complex"])),
        "pools": st.one_of(pools.map(Fixed), _choices(pools)),
        "dropout": _choices(st.sampled_from([0.0, 0.25, 0.5])),
    }
    names = draw(st.lists(st.sampled_from(sorted(domains)), unique=True))
    bounds = st.integers(0, 10**9)
    limits = st.one_of(
        st.builds(Limit, min=bounds),
        st.builds(Limit, max=bounds),
        st.tuples(bounds, bounds).map(lambda ends: Limit(min(ends), max(ends))),
    )
    return SearchSpace(
        name="drawn",
        family="squeezenet",
        domains={name: draw(domains[name]) for name in names},
        limits=draw(st.dictionaries(st.sampled_from(OBJECTIVES), limits)),
        description=draw(st.sampled_from(["", "what it shows: a line, with # and 'quotes'"])),
    )


def _choices(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Categorical]:
    return st.lists(values, min_size=1, max_size=4, unique=True).map(
        lambda chosen: Categorical(tuple(chosen))
    )
