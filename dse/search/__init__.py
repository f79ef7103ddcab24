"""Studies: what is trained, by which processes, and the record of it."""
