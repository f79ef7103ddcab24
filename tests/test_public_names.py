from __future__ import annotations

import subprocess
import sys

import pytest

import dse

PUBLIC = {
    "Candidate",
    "Cost",
    "Dataset",
    "DseError",
    "LocalExecutor",
    "Measurement",
    "PRESETS",
    "Pool",
    "Recipe",
    "Search",
    "SearchSpace",
    "Seed",
    "Study",
    "StudyTable",
    "Sweep",
    "Trainer",
    "__version__",
    "build",
    "build_network",
    "compress",
    "cost",
    "default_recipe",
    "describe",
    "dominates",
    "evaluate",
    "export",
    "find_space",
    "front",
    "hypervolume",
    "load_space",
    "load_study",
    "load_weights",
    "make_candidate",
    "make_pool",
    "open_dataset",
    "parse_data",
    "plot_accuracy_against_size",
    "predict",
    "prepare_data",
    "read_trials",
    "run",
    "save_weights",
    "search",
    "shrink",
    "shipped_spaces",
    "suggest",
    "summarise",
    "survey",
    "sweep",
    "train",
}


def test_the_public_names_are_these_and_no_others():
    assert set(dse.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name):
    value = getattr(dse, name)
    assert isinstance(value, str | dict) or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dse' has no attribute 'swep'"):
        dse.swep  # noqa: B018


def test_importing_the_library_loads_nothing_heavy():
    heavy = "{'jax', 'numpy', 'pandas', 'optuna', 'matplotlib'}"
    code = f"import dse, sys; assert not {heavy} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
