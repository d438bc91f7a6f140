"""What the tests with real clients can ask for: Node's packages, and a server that may call us."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.clients.programs import need_node_modules
from tests.contract.shared_servers import create_account
from tests.receiver import Receiver, open_receiver
from tests.scenario import Server


@pytest.fixture(scope="session")
def node_modules() -> None:
    """The official Node client and other packages, installed when first asked for."""
    need_node_modules()


@pytest.fixture
def hooked(sqlite_server: Server) -> Server:
    """A server that may send webhooks to this machine, and an account that has none yet."""
    return replace(sqlite_server, key=create_account(sqlite_server))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with open_receiver() as made:
        yield made
