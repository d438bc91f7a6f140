"""All SQL of the core, one module a noun, on SQLite and PostgreSQL alike."""
