"""The merge fields of a list: which values its members have besides an address."""
