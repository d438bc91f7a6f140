"""The lists ("audiences") of an account."""
