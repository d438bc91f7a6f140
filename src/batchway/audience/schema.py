"""The folder with the migrations of the audience's tables."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations" / "versions"
