"""A study as tables: its candidates, the front, all studies in a list, published numbers."""
