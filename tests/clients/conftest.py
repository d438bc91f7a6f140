"""Fixtures for tests with real clients: Node's packages, and a server that may send webhooks."""

from dataclasses import replace

import pytest

from tests.clients.programs import need_node_modules
from tests.contract.shared_servers import create_account
from tests.scenario import Server


@pytest.fixture(scope="session")
def node_modules() -> None:
    """The official Node client and other packages, installed on first use."""
    need_node_modules()


@pytest.fixture
def hooked(sqlite_server: Server) -> Server:
    """A server that may send webhooks to this machine, and an account without webhooks."""
    return replace(sqlite_server, key=create_account(sqlite_server))
