"""What answers the operations: one module a target, one contract in `base`."""
