"""What XLA is told when it compiles the programs of this row for a CPU."""

from __future__ import annotations

from functools import cache

import jax

_FOR_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
"""The older code generator, and LLVM's first level: half the time of compiling, steps as fast."""


def compiler_options() -> dict[str, bool | int] | None:
    """For `jax.jit`; None on other devices, and where this XLA does not know the options.

    A fire network of eight modules is compiled in 3.9 to 5.3 s in place of 8.4 to 11.5 s by
    two processes on two cores (jaxlib 0.10.2); see docs/decisions/0022.
    """
    return _known_options(jax.default_backend())


@cache
def _known_options(platform: str) -> dict[str, bool | int] | None:
    if platform != "cpu":
        return None
    options = dict(_FOR_CPU)
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(1).compile()
    except jax.errors.JaxRuntimeError:  # "No such compile option"
        return None
    return options
