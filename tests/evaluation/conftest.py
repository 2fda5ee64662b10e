"""Puts this folder on the path, for `from asking import ...` in the folders below."""
