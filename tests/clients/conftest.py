"""What the tests with real clients can ask for: Node's packages, and a server that may call us."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.clients.programs import need_node_modules
from tests.contract.running import new_account, running_server
from tests.receiver import Receiver, receiving
from tests.scenario import Server

LOOPBACK = "127.0.0.0/8,::1/128"


@pytest.fixture(scope="session")
def node_modules() -> None:
    """The official Node client and other packages, installed when first asked for."""
    need_node_modules()


@pytest.fixture(scope="session")
def calling_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may send webhooks to this machine."""
    folder = tmp_path_factory.mktemp("calling")
    with running_server(folder, BATCHWAY_EGRESS_ALLOW=LOOPBACK) as server:
        yield server


@pytest.fixture
def hooked(calling_server: Server) -> Server:
    """The same with an account that has no webhooks yet."""
    return replace(calling_server, key=new_account(calling_server))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as made:
        yield made
