"""Tools that keep the documents true; no part of the package."""
