"""The tags of members: static segments of a list, by name."""
