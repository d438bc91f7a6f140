"""How results are written down: one module a format, one contract in `base`."""
