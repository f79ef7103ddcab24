"""Families of networks, one file each: metaparameters, and the function from them to layers."""
