"""Where the changes of the audience's tables are; the core's tables have a folder of their own."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations" / "versions"
