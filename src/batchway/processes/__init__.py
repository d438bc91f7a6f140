"""The processes of a server: `serve` supervises them, and forks the API and the workers."""
