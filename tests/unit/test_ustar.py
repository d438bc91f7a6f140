"""USTAR entries: how standard readers read them, and which ones are refused."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit import ustar
from tests.clients.programs import need

MTIME = 1_790_000_000
CHECKSUM_FIELD = range(148, 156)

visible = st.characters(min_codepoint=33, max_codepoint=126)
names = st.text(visible, min_size=1, max_size=100).filter(lambda name: not name.endswith("/"))


def read_with_tarfile(raw: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return all entries with their bodies, as Python's reader finds them."""
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        return [(info, file.read()) for info in tar if (file := tar.extractfile(info))]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1_023, 1_024, 100_000])
def test_body_is_padded_to_a_full_block(size: int) -> None:
    """An entry is a header, the body, and zeros up to the next multiple of 512 bytes."""
    entry = ustar.make_entry("a.json", b"x" * size, MTIME)

    assert 512 + ustar.round_up_to_block(size) == len(entry)
    assert 0 == len(entry) % 512
    assert b"x" * size == entry[512 : 512 + size]
    assert b"" == entry[512 + size :].strip(b"\0")


def test_header_says_plain_file_of_nobody_in_particular() -> None:
    """An entry is a regular file, 0644, of user and group 0 without names."""
    [(info, body)] = read_with_tarfile(
        ustar.make_entry("a.json", b"[1]", MTIME) + ustar.END_OF_ARCHIVE
    )

    assert ("a.json", 3, b"[1]") == (info.name, info.size, body)
    assert (tarfile.REGTYPE, 0o644, MTIME) == (info.type, info.mode, info.mtime)
    assert (0, 0, "", "") == (info.uid, info.gid, info.uname, info.gname)
    assert {} == info.pax_headers


@given(st.lists(st.tuples(names, st.binary(max_size=2_000)), max_size=5))
def test_tarfile_reads_back_any_names_and_bodies(files: list[tuple[str, bytes]]) -> None:
    """Python's reader finds the same files, in the same order."""
    raw = b"".join(ustar.make_entry(name, body, MTIME) for name, body in files)

    found = [(info.name, body) for info, body in read_with_tarfile(raw + ustar.END_OF_ARCHIVE)]

    assert files == found


@given(names, st.integers(0, ustar.NUMBER_MAX))
def test_headers_equal_those_of_tarfile(name: str, mtime_seconds: int) -> None:
    """A header equals that of Python's tarfile.

    The device numbers differ: tarfile leaves them empty, GNU tar and we set them to 0.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = 3, mtime_seconds, 0o644
    expected = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
    expected[329:345] = b"0000000\0" * 2
    expected[148:156] = b" " * 8
    expected[148:156] = b"%06o\0 " % sum(expected)

    assert expected == ustar.make_entry(name, b"[1]", mtime_seconds)[:512]


def test_tar_command_lists_the_files_without_a_word() -> None:
    """The tar command reads the archive without a warning."""
    need("tar", "tar")
    longest = "b" * 100
    raw = ustar.make_entry("a.json", b"[]", MTIME) + ustar.make_entry(longest, b"", MTIME)

    done = subprocess.run(
        ["tar", "tf", "-"], input=raw + ustar.END_OF_ARCHIVE, capture_output=True, check=False
    )

    assert (0, b"") == (done.returncode, done.stderr)
    assert ["a.json", longest] == done.stdout.decode().split()


@pytest.mark.parametrize("name", ["", "x" * 101, "ä.json", "a\0b", "folder/", "/"])
def test_name_that_does_not_fit_is_refused(name: str) -> None:
    """A name that is empty, too long, not ASCII, has a NUL or ends with a slash is refused."""
    with pytest.raises(ValueError, match="A USTAR file name"):
        ustar.make_entry(name, b"", MTIME)


@pytest.mark.parametrize("mtime_seconds", [-1, ustar.NUMBER_MAX + 1])
def test_time_that_does_not_fit_is_refused(mtime_seconds: int) -> None:
    """A time that does not fit into eleven octal digits is refused."""
    with pytest.raises(ValueError, match="modification time"):
        ustar.make_entry("a.json", b"", mtime_seconds)


def test_size_that_does_not_fit_is_refused() -> None:
    """A size of 8 GiB or more is refused before any copy."""

    class Huge(bytes):
        def __len__(self) -> int:
            return ustar.NUMBER_MAX + 1

    with pytest.raises(ValueError, match="too large"):
        ustar.make_entry("a.json", Huge(), MTIME)


@given(names, st.binary(max_size=2_000))
def test_header_reads_back(name: str, body: bytes) -> None:
    """Our reader finds the name and the size of a header."""
    assert (name, len(body)) == ustar.read_header(ustar.make_entry(name, body, MTIME)[:512])


@given(st.integers(0, 511).filter(lambda at: at not in CHECKSUM_FIELD), st.integers(1, 255))
def test_damaged_header_is_refused(at: int, difference: int) -> None:
    """A changed byte anywhere outside the checksum is detected."""
    header = bytearray(ustar.make_entry("a.json", b"[1]", MTIME)[:512])
    header[at] ^= difference

    with pytest.raises(ValueError, match=r"checksum|not the USTAR header"):
        ustar.read_header(bytes(header))


@pytest.mark.parametrize("block", [b"", bytes(512), ustar.make_entry("a", b"", 0)[:511]])
def test_what_is_no_header_is_refused(block: bytes) -> None:
    """An empty or short block is not a header."""
    with pytest.raises(ValueError, match="not the USTAR header"):
        ustar.read_header(block)


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.XHDTYPE])
def test_only_regular_files_are_read(kind: bytes) -> None:
    """Folders, links and extended headers are refused."""
    info = tarfile.TarInfo("a")
    info.type = kind

    with pytest.raises(ValueError, match="regular file"):
        ustar.read_header(info.tobuf(tarfile.USTAR_FORMAT))
