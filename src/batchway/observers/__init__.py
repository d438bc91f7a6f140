"""What is told of the steps as they run: one module an observer, one contract in `base`."""
