"""Operations of the networks: XLA's own form, and forms that are faster on a CPU."""
