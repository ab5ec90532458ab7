"""Writes what can be told from the code alone: the pages of `docs/reference`. `python -m docs.generate [--check]`."""
