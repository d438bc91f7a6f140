"""The built-in audience API, one module a resource."""
