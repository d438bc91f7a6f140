"""Bodies that come compressed: inflated in pieces, bounded, and refused when they are damaged."""

import gzip
import zlib

import pytest

from batchway import limits
from batchway.contract.inflate import Inflater
from batchway.contract.problems import Problem, Refused

TEXT = b'{"operations":[{"method":"GET","path":"/ping"}]}' * 5_000
PACKED = gzip.compress(TEXT, mtime=0)  # the same in every process: it stands in names of tests
BOUND = 2**30


def inflated(
    data: bytes, encoding: str | None = "gzip", bytes_max: int = BOUND, step: int = 1_000
) -> bytes:
    """Return the whole body after feeding it `step` bytes at a time."""
    inflater = Inflater(encoding, bytes_max)
    found: list[bytes] = []
    for start in range(0, len(data), step):
        found += inflater.feed(data[start : start + step])
    inflater.finish()
    return b"".join(found)


def refusal(data: bytes, encoding: str | None = "gzip", bytes_max: int = BOUND) -> Problem:
    """Return the problem that a body is rejected with, both in pieces and at once."""
    problems = []
    for step in (7, 1_000, max(1, len(data))):
        with pytest.raises(Refused) as refused:
            inflated(data, encoding, bytes_max, step)
        problems.append(refused.value.problem)
    assert {problem.status for problem in problems} == {problems[0].status}
    return problems[0]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZip "])
@pytest.mark.parametrize("step", [1, 100, 10_000_000])
def test_gzip(encoding: str, step: int) -> None:
    """A gzip body is inflated, however it is cut into pieces."""
    assert TEXT == inflated(PACKED, encoding, step=step)


@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity"])
def test_plain_body(encoding: str | None) -> None:
    """A body without an encoding is passed on unchanged."""
    assert TEXT == inflated(TEXT, encoding)


def test_several_members() -> None:
    """Several gzip members form one body, also empty ones, however they are cut."""
    members = PACKED + gzip.compress(b"") + gzip.compress(b"end") + gzip.compress(b"")

    for step in (1, 17, len(members)):
        assert TEXT + b"end" == inflated(members, step=step)


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_empty_body(encoding: str | None) -> None:
    """An empty body inflates to an empty body."""
    assert b"" == inflated(b"", encoding)


@pytest.mark.parametrize("level", [0, 9])
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_pieces_are_small(encoding: str | None, level: int) -> None:
    """Pieces are small, however large the input is and however well it was compressed."""
    body = bytes(3 * limits.inflated_piece_bytes_max + 5)
    data = gzip.compress(body, level) if encoding else body

    pieces = list(Inflater(encoding, BOUND).feed(data))

    assert limits.inflated_piece_bytes_max >= max(map(len, pieces))
    assert body == b"".join(pieces)


@pytest.mark.parametrize("junk", [b"\0", b"x", b"\x1fx", b"garbage" * 9])
def test_gzip_with_other_data_after_it(junk: bytes) -> None:
    """Data after the end of a gzip body is reported as such."""
    with pytest.raises(Refused) as refused:
        inflated(PACKED + junk)

    assert "other data follows its end" in refused.value.problem.detail


@pytest.mark.parametrize(
    "data",
    [
        *(PACKED[:size] for size in (1, 2, 9, 10, 11, 100, len(PACKED) - 8, len(PACKED) - 1)),
        PACKED + PACKED[:5],
        PACKED + b"\0",
        PACKED + b"garbage",
        PACKED[:-8] + b"\0" * 8,
        PACKED[:-4] + b"\0" * 4,
        PACKED[:50] + b"\xff" * 50 + PACKED[100:],
        TEXT,
        zlib.compress(TEXT),
    ],
)
def test_damaged_gzip(data: bytes) -> None:
    """A gzip body that is truncated, damaged, followed by other data, or not gzip is rejected."""
    problem = refusal(data)

    assert (400, "JSON Parse Exception") == (problem.status, problem.title)
    assert problem.detail.startswith("The body is not valid gzip: ")


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_bound(encoding: str | None) -> None:
    """A body of exactly the limit is accepted, and one byte more is rejected."""
    data = PACKED if encoding else TEXT

    assert TEXT == inflated(data, encoding, len(TEXT))
    problem = refusal(data, encoding, len(TEXT) - 1)
    assert (413, "Request Entity Too Large") == (problem.status, problem.title)
    assert str(len(TEXT) - 1) in problem.detail


def test_bound_counts_all_members() -> None:
    """The limit applies to the sum of all gzip members."""
    assert 413 == refusal(PACKED * 3, bytes_max=3 * len(TEXT) - 1).status


def test_bomb() -> None:
    """A body that is too large is inflated only up to one byte more than the limit."""
    zeros = bytes(1_000_000)
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(compressor.compress(zeros) for _ in range(200)), compressor.flush()])
    seen = 0

    def feed() -> None:
        nonlocal seen
        for piece in Inflater("gzip", 5_000_000).feed(bomb):
            seen += len(piece)

    with pytest.raises(Refused) as refused:
        feed()
    assert 413 == refused.value.problem.status
    assert 5_000_000 - limits.inflated_piece_bytes_max <= seen <= 5_000_000


def test_many_members() -> None:
    """The number of gzip members is limited, because empty members add no bytes."""
    empty = gzip.compress(b"")
    inflater = Inflater("gzip", 10)

    assert [] == list(inflater.feed(empty * limits.gzip_members_max))
    with pytest.raises(Refused) as refused:
        list(inflater.feed(empty))
    assert 413 == refused.value.problem.status


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "x" * 5_000, "é"])
def test_unknown_encoding(encoding: str) -> None:
    """An unknown encoding is rejected before the body arrives; a header lists the known ones."""
    with pytest.raises(Refused) as refused:
        Inflater(encoding, BOUND)

    problem = refused.value.problem
    assert (415, "Unsupported Media Type") == (problem.status, problem.title)
    assert encoding[:100] in problem.detail
    assert (("Accept-Encoding", "gzip, identity"),) == refused.value.headers
