"""The verbs: one module for each step in the life of a batch."""
