"""Architecture design-space exploration: the smallest network that reaches a given accuracy.

The names below are the library; each is loaded when it is first used, so that `import dse`
costs nothing and only training imports JAX.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "dse.architecture": ("PRESETS", "Candidate", "Cost", "build", "cost", "make_candidate"),
    "dse.config": ("find_space", "load_space", "shipped_spaces"),
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
    "dse.search.run": ("run",),
    "dse.space": ("SearchSpace", "suggest"),
    "dse.space.enumerate": ("Pool", "make_pool", "survey"),
    "dse.training": ("Recipe", "default_recipe"),
    "dse.training.trainer": ("Seed", "Trainer"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'dse' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
