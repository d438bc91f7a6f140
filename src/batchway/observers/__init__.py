"""Observers are called at each event of the steps: one module for each, one contract in `base`."""
