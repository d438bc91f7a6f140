"""How results are written to archives: one module per format, with the contract in `base`."""
