"""Starting from given weights: the head's classifier, the units of steps, what is inherited."""

from __future__ import annotations

import numpy as np
import pytest

from dse.training.parametrization import AllParameters, MaskedKernels, Relative, masks_of
from dse.training.start import fit_head


@pytest.mark.parametrize("classes_count", [2, 3])
def test_the_head_separates_what_is_separable(classes_count: int) -> None:
    draws = np.random.default_rng(0)
    labels = np.arange(60) % classes_count
    centres = 10 * draws.standard_normal((classes_count, 4))
    features = (100 + centres[labels] + draws.standard_normal((60, 4))).astype(np.float32)
    kernel, bias = fit_head(features, labels, classes_count)
    assert kernel.shape == (4, classes_count)
    assert ((features @ kernel + bias).argmax(1) == labels).all()


def test_the_head_is_the_published_classifier() -> None:
    """Scores differ between two classes as those of scikit-learn's own function."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from dse.training.start import HEAD_STRENGTH

    draws = np.random.default_rng(1)
    features, labels = draws.standard_normal((40, 3)).astype(np.float32), np.arange(40) % 2
    kernel, bias = fit_head(features, labels, 2)
    scaled = StandardScaler().fit_transform(features.astype(float))
    wanted = LogisticRegression(C=HEAD_STRENGTH).fit(scaled, labels).decision_function(scaled)
    scores = features @ kernel + bias
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], wanted, atol=1e-3)


def test_relative_arrays_are_the_same_parameters() -> None:
    params = {
        "conv1": {
            "kernel": np.float32([[3.0, 0.0], [-4.0, 0.0]]),
            "bias": np.zeros(2, np.float32),
        }
    }
    relative = Relative(AllParameters())
    trained, fixed = Relative.start(params, (), {"conv1/bias": 5.0})
    # The root mean square of 3, 4, 0, 0 is 2.5; zeros have 1, here times the factor.
    assert fixed[1]["conv1"] == {"kernel": np.float32(2.5), "bias": np.float32(5.0)}
    np.testing.assert_allclose(trained["conv1"]["kernel"], [[1.2, 0], [-1.6, 0]], rtol=1e-6)
    expanded = relative.expand(trained, fixed)
    np.testing.assert_allclose(expanded["conv1"]["kernel"], params["conv1"]["kernel"], rtol=1e-6)
    masked = Relative(MaskedKernels())
    trained, fixed = Relative.start(params, masks_of(params), {})
    np.testing.assert_allclose(
        masked.expand(trained, fixed)["conv1"]["kernel"], params["conv1"]["kernel"], rtol=1e-6
    )
