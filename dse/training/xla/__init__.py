"""What is particular to XLA: compile cache, microbatching, packing, threads."""
