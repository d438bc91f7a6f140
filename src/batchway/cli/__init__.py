"""The `batchway` command, one file a command.

It uses HTTP as any client does, but for the operator's commands.
"""
