"""Where the API stands: the one place that names its version."""

API_PREFIX = "/3.0"
SCHEMA_PREFIX = f"/schema{API_PREFIX}"
