"""Compression: pruning, quantization, fine-tuning between them, the front of size and accuracy."""
