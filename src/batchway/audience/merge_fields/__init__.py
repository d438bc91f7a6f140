"""The merge fields of a list: the values that its members have besides an address."""
