"""Tests for every archive store. The test class of a store inherits this and makes the store."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from batchway.archives.base import Archive
from batchway.errors import ArchiveMissing, ArchiveUnwritable

KEY = "b2a7"
NOT_KEYS = ["", "../x", "a/b", "A", "a.b", "a" * 41, "a\n", "é", "a b", "٣", "\0"]


class ArchiveSuite:
    """What every archive store must do."""

    @pytest.fixture
    def archive(self) -> Archive:
        """A new, empty store. The test class makes it."""
        raise NotImplementedError

    def test_joined_parts_come_back(self, archive: Archive) -> None:
        """Bytes that were written in parts are read as one, and their size is returned."""
        parts = [b"abc", b"", b"d" * 3_000_000, b"e"]

        written = archive.write(KEY, iter(parts))

        assert 3_000_004 == written == archive.get_size(KEY)
        with archive.open(KEY) as file:
            assert b"".join(parts) == file.read()

    def test_free_bytes_are_a_number_or_unknown(self, archive: Archive) -> None:
        """Free space is a positive number, or None if it is unknown."""
        free_bytes = archive.get_free_bytes()

        assert free_bytes is None or free_bytes > 0

    def test_identity_is_made_once(self, archive: Archive) -> None:
        """All users of a store get the same id, also if several ask for it first at once."""
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: archive.get_identity(), range(8)))

        assert found == {archive.get_identity()}
        assert [] == list(archive.list_keys())
        assert 0 == archive.sweep_temporary()

    def test_link_is_a_url_or_none(self, archive: Archive) -> None:
        """A store that serves archives returns a URL; for others the API serves them."""
        archive.write(KEY, [b"a"])
        link = archive.build_link(KEY, 600)

        assert link is None or link.startswith(("http://", "https://"))

    def test_no_parts_make_an_empty_archive(self, archive: Archive) -> None:
        """An archive without parts exists and has no bytes."""
        assert 0 == archive.write(KEY, [])
        assert (0, [KEY]) == (archive.get_size(KEY), list(archive.list_keys()))

    def test_second_write_replaces_the_first(self, archive: Archive) -> None:
        """A second write under the same key replaces the archive."""
        archive.write(KEY, [b"a long first one"])

        assert 6 == archive.write(KEY, [b"second"])
        assert (6, b"second") == (archive.get_size(KEY), archive.read_range(KEY, 0, 100))
        assert [KEY] == list(archive.list_keys())

    def test_open_archive_survives_rewrite_and_delete(self, archive: Archive) -> None:
        """A download that has begun ends with the bytes it began with."""
        first = b"first" * 100_000
        archive.write(KEY, [first])

        with archive.open(KEY) as file:
            begun = file.read(5)
            archive.write(KEY, [b"second"])
            archive.delete(KEY)
            assert first == begun + file.read()

    def test_nothing_is_seen_before_the_last_part(self, archive: Archive) -> None:
        """While an archive is written, readers see the former one."""
        seen = []

        def parts(content: bytes) -> Iterator[bytes]:
            yield content * 1_000_000
            keys = list(archive.list_keys())
            seen.append([archive.get_size(key) for key in keys])
            yield content

        archive.write(KEY, parts(b"1"))
        archive.write(KEY, parts(b"2"))

        assert [[], [1_000_001]] == seen

    def test_parts_that_raise_leave_what_was_there(self, archive: Archive) -> None:
        """An exception of the parts is re-raised, and the former archive stays."""

        def parts() -> Iterator[bytes]:
            yield b"x" * 1_000_000
            raise LookupError

        with pytest.raises(LookupError):
            archive.write("fresh", parts())
        archive.write(KEY, [b"former"])
        with pytest.raises(LookupError):
            archive.write(KEY, parts())

        assert [KEY] == list(archive.list_keys())
        assert b"former" == archive.read_range(KEY, 0, 100)
        assert 0 == archive.sweep_temporary()

    def test_input_error_of_parts_is_the_cause(self, archive: Archive) -> None:
        """An OSError while the parts are read is the cause of the error."""

        def parts() -> Iterator[bytes]:
            yield b"x" * 1_000_000
            raise ConnectionResetError

        with pytest.raises(ArchiveUnwritable) as raised:
            archive.write(KEY, parts())

        assert isinstance(raised.value.__cause__, ConnectionResetError)
        assert [] == list(archive.list_keys())

    def test_writers_of_one_key_do_not_mix(self, archive: Archive) -> None:
        """If several writers use one key at once, one of them wins completely."""
        together = threading.Barrier(4, timeout=30)

        def write(letter: bytes) -> int:
            together.wait()
            return archive.write(KEY, (letter * 1_000 for _ in range(200)))

        with ThreadPoolExecutor(4) as pool:
            written = list(pool.map(write, [b"a", b"b", b"c", b"d"]))

        assert [200_000] * 4 == written
        content = archive.read_range(KEY, 0, 300_000)
        assert content in [letter * 200_000 for letter in (b"a", b"b", b"c", b"d")]

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [(0, 3, b"012"), (3, 4, b"3456"), (8, 10, b"89"), (10, 1, b""), (99, 1, b""), (4, 0, b"")],
    )
    def test_range_is_read(
        self, archive: Archive, offset: int, length: int, expected: bytes
    ) -> None:
        """A range has the bytes that the archive has of it."""
        archive.write(KEY, [b"01234", b"56789"])

        assert expected == archive.read_range(KEY, offset, length)

    @pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1)])
    def test_negative_range_is_refused(self, archive: Archive, offset: int, length: int) -> None:
        """A negative offset or length is refused."""
        archive.write(KEY, [b"0123456789"])

        with pytest.raises(ValueError, match="negative"):
            archive.read_range(KEY, offset, length)

    def test_missing_archive_is_named(self, archive: Archive) -> None:
        """Each way of reading names the key that has no archive."""
        for read in (archive.open, archive.get_size, lambda key: archive.read_range(key, 0, 1)):
            with pytest.raises(ArchiveMissing, match="5ca1e"):
                read("5ca1e")

    def test_delete_may_be_called_twice(self, archive: Archive) -> None:
        """Deleting a missing archive is no error, and other archives stay."""
        archive.write(KEY, [b"a"])
        archive.write("other", [b"b"])

        archive.delete(KEY)
        archive.delete(KEY)

        assert ["other"] == list(archive.list_keys())
        with pytest.raises(ArchiveMissing):
            archive.open(KEY)

    def test_keys_are_listed(self, archive: Archive) -> None:
        """Every complete archive is listed once, also with the shortest and the longest key."""
        keys = ["0", "z" * 40, KEY]
        for key in keys:
            archive.write(key, [b"a"])

        assert sorted(keys) == sorted(archive.list_keys())

    def test_keys_may_be_deleted_while_they_are_listed(self, archive: Archive) -> None:
        """Archives can be deleted while their keys are listed."""
        for number in range(300):
            archive.write(f"k{number}", [b"a"])

        keys = archive.list_keys()
        for key in keys:
            archive.delete(key)

        assert [] == list(archive.list_keys())

    @pytest.mark.parametrize("key", NOT_KEYS)
    def test_what_is_no_key_is_refused(self, archive: Archive, key: str) -> None:
        """An invalid key is refused unchanged, so that no key leads out of the store."""
        for call in (
            lambda: archive.write(key, [b"a"]),
            lambda: archive.open(key),
            lambda: archive.get_size(key),
            lambda: archive.read_range(key, 0, 1),
            lambda: archive.delete(key),
            lambda: archive.build_link(key, 600),
        ):
            with pytest.raises(ValueError, match="archive key"):
                call()

        assert [] == list(archive.list_keys())
