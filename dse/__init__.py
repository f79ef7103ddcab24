"""Architecture design-space exploration: the smallest network that reaches a given accuracy.

The names below are the library; each is loaded when it is first used, so that `import dse`
costs nothing and only training imports JAX. What the commands do is `dse.api`, whose functions
are here too: `dse.load_space`, `dse.sweep`, `dse.search`, `dse.evaluate`, `dse.predict`,
`dse.shrink`, `dse.compress`, `dse.export`, `dse.describe`, `dse.load_study`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "dse.api": (
        "Study",
        "compress",
        "describe",
        "evaluate",
        "export",
        "load_space",
        "load_study",
        "predict",
        "search",
        "shrink",
        "sweep",
        "train",
    ),
    "dse.architecture": ("PRESETS", "Candidate", "Cost", "build", "cost", "make_candidate"),
    "dse.config": ("find_space", "shipped_spaces"),
    "dse.data": ("Dataset", "open_dataset", "parse_data", "prepare_data"),
    "dse.errors": ("DseError",),
    "dse.networks": ("build_network",),
    "dse.weights.safetensors": ("load_weights", "save_weights"),
    "dse.stats.pareto": ("dominates", "front", "hypervolume"),
    "dse.report": ("StudyTable", "plot_accuracy_against_size", "summarise"),
    "dse.study.table": ("read_trials",),
    "dse.study.measurement": ("Measurement",),
    "dse.execution.local": ("LocalExecutor",),
    "dse.search.plan": ("Search", "Sweep"),
    "dse.search.engine": ("run",),
    "dse.space": ("SearchSpace", "suggest"),
    "dse.space.enumerate": ("Pool", "make_pool", "survey"),
    "dse.training": ("Recipe", "default_recipe"),
    "dse.training.trainer": ("Seed", "Trainer"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_MODULES]


class _Room(ModuleType):
    """A package whose name is also that of a function: `dse.search`, `dse.compress`
    and `dse.export`.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module("dse.api"), name)(*args, **options)


class _Library(ModuleType):
    """Python sets a package as an attribute when it is imported; it has to stay callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _MODULES.get(name) == "dse.api":
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Library


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'dse' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
