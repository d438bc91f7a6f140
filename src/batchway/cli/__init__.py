"""The command line: one module per command.

The commands use HTTP like other clients, except for those of the operator.
"""
