"""The built-in audience API, with a folder for each resource."""
