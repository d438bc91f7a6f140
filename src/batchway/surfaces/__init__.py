"""The HTTP APIs: one folder per surface, beside the modules that all surfaces share."""
