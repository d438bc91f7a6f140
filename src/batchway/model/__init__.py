"""The objects of the domain: immutable values, and rules without side effects."""
