"""Running servers, one for each database."""

from tests.contract.running import (
    api,
    ask,
    http,
    own_api,
    postgres_server,
    server,
    sqlite_server,
)

__all__ = ["api", "ask", "http", "own_api", "postgres_server", "server", "sqlite_server"]
