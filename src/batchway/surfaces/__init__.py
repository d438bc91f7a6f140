"""How batches come in and are shown: one folder a surface, beside what all share."""
