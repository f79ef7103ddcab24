"""Files for other runtimes, one module per format, all by one walk; no JAX but for StableHLO."""
