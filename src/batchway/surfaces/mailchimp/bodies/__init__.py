"""The JSON bodies of /3.0's own resources, for those that write them and those that read them.

Structs without logic: the surface encodes them, the command line decodes them. What a reader can
do without has a default, so that it can also read the replies of an older server.
"""
