"""The members of a list, and the calls that add, change and show them."""
