"""Benchmarks: commands that measure claims of the documents."""
