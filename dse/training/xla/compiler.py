"""What XLA is told when it compiles the programs of this row for a CPU."""

from __future__ import annotations

from functools import cache

import jax

from dse.networks.ops import use_cpu_forms

_FOR_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
"""The older code generator, and LLVM's first level: half the time of compiling, steps as fast."""


@cache
def compiler_options() -> dict[str, bool | int] | None:
    """For `jax.jit`; None without CPU forms, and where this XLA does not know the options.

    XLA takes 2.5 s in place of 6.6 for the training step of a fire network of eight modules
    (jaxlib 0.10.2, two processes on two cores); see docs/decisions/0022.
    """
    if not use_cpu_forms():
        return None
    options = dict(_FOR_CPU)
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(1).compile()
    except jax.errors.JaxRuntimeError:  # "No such compile option"
        return None
    return options
