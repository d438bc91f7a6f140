"""The steps of a batch by hand, and calls on the database that they work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.in_process import Client
from tests.faults.by_hand import ByHand, opened_by_hand
from tests.scenario import Server


@pytest.fixture
def hand(tmp_path: Path, database_url: str) -> Iterator[ByHand]:
    """The steps, on each database in turn."""
    with opened_by_hand(Server(tmp_path, database_url)) as opened:
        yield opened


@pytest.fixture
def client(hand: ByHand) -> Client:
    """Calls on the same database, at the same moment."""
    return Client(hand.app.asgi())
