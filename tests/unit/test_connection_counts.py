"""How many connections one process keeps, and which of them ends for a new one."""

import resource
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from batchway import limits
from batchway.limits import Limits
from batchway.processes.bounded_http import BoundedHttp, Connections

IN_FORCE = replace(Limits(), connections_max=4, connections_per_address_max=2)


@dataclass(eq=False)
class Peers:
    """Connections of clients, by name; `ended` has those that were ended, in order."""

    connections: Connections
    ended: list[str] = field(default_factory=list)
    by_name: dict[str, BoundedHttp] = field(default_factory=dict)

    def open(self, name: str, address: str) -> bool:
        """Open a connection; return whether it was kept."""
        self.by_name[name] = cast(BoundedHttp, _Peer(name, address, self))
        is_kept = self.connections.add(self.by_name[name], address)
        if not is_kept:
            self.connections.remove(self.by_name[name], address)
        return is_kept

    def make_busy(self, name: str, address: str) -> None:
        """Let a connection send the headers of a request."""
        self.connections.mark_busy(self.by_name[name], address)


@dataclass(eq=False)
class _Peer:
    name: str
    address: str
    peers: Peers

    def end_now(self) -> None:
        """End, as a connection does at once."""
        self.peers.ended.append(self.name)
        self.peers.connections.remove(self.peers.by_name[self.name], self.address)


@pytest.fixture
def peers() -> Peers:
    """Clients of a process that keeps four connections, two of each address."""
    return Peers(Connections(IN_FORCE))


def test_the_oldest_idle_connection_of_an_address_ends(peers: Peers) -> None:
    """An address with too many connections loses the one that has waited longest."""
    assert [True, True, True, True] == [
        peers.open(name, address) for name, address in zip("abcd", "1211", strict=True)
    ]
    assert ["a"] == peers.ended


def test_an_address_whose_connections_are_busy_gets_no_more(peers: Peers) -> None:
    """A request under way is not ended for a new connection, which is refused."""
    for name in "ab":
        peers.open(name, "1")
        peers.make_busy(name, "1")

    assert not peers.open("c", "1")
    assert peers.open("d", "2")
    assert [] == peers.ended


def test_the_oldest_idle_connection_of_all_ends(peers: Peers) -> None:
    """With too many connections in all, the one that has waited longest ends."""
    for name, address in zip("abcd", "1223", strict=True):
        peers.open(name, address)
    peers.make_busy("a", "1")

    assert peers.open("e", "4")
    assert ["b"] == peers.ended


@pytest.mark.parametrize(("files", "most"), [(2, 2), (1, 1), (0, 1), (-50, 1), (1_000, 4)])
def test_few_files_mean_few_connections(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    """Files are kept free for the database and the archives; one connection always works."""
    limit = limits.reserved_files + files
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (limit, limit))

    for number in range(6):
        assert peers.open(str(number), str(number))

    assert 6 - most == len(peers.ended)


def test_no_limit_of_files(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files have no limit, the own limit holds."""
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (unlimited, unlimited))

    for number in range(6):
        assert peers.open(str(number), str(number))

    assert ["0", "1"] == peers.ended


def test_nothing_is_left_of_ended_connections(peers: Peers) -> None:
    """Addresses are forgotten with their last connection."""
    for name in "ab":
        peers.open(name, name)
    for name in "ab":
        peers.connections.remove(peers.by_name[name], name)

    assert Connections(IN_FORCE) == peers.connections
