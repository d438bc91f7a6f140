"""Observers are called at each event of the steps. `base` has their contract."""
