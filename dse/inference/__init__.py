"""The network in numpy with its weights, in float32 and int8, batch norms folded; no JAX."""
