"""The files of a result archive: how they are named, and the JSON of the results in them."""

import msgspec

from batchway.kit.json_text import quote_json
from batchway.limits import Limits

POSITIONS_MAX = 2**28  # operations of one batch that can have a file name of their own
PAGES_MAX = 2**12  # pages of one operation that can
assert Limits.operations_per_batch_max <= POSITIONS_MAX

_SUFFIX = ".json"
_NAMES_MAX = 2**40  # ten hex digits
_PLACE_FACTOR = 0x9E3779B97F  # odd, so that no two places of a batch share a name
_PLACE_INVERSE = pow(_PLACE_FACTOR, -1, _NAMES_MAX)
_BATCH_FACTOR = 0xD6E8FEB867
assert POSITIONS_MAX * PAGES_MAX <= _NAMES_MAX


class WrittenResult(msgspec.Struct):
    """A result as it stands in an archive; `response` is JSON text."""

    status_code: int
    response: str


def name_result_file(batch_key: int, position: int, page: int) -> str:
    """Return `<10 hex>.json`: unique within the batch, and the same for the same arguments.

    The batch's key is mixed in so that the files of two batches, unpacked into one folder, rarely
    have the same names. Raises ValueError for a position or page that has no name.
    """
    if not (0 <= position < POSITIONS_MAX and 0 <= page < PAGES_MAX):
        message = (
            f"No file name for position {position}, page {page}: "
            f"positions end below {POSITIONS_MAX}, pages below {PAGES_MAX}."
        )
        raise ValueError(message)
    place = page * POSITIONS_MAX + position
    number = (place * _PLACE_FACTOR + batch_key * _BATCH_FACTOR) % _NAMES_MAX
    return f"{number:010x}{_SUFFIX}"


def parse_file_name(batch_key: int, name: str) -> tuple[int, int]:
    """Return the position and the page that `name_result_file` made the name from."""
    number = int(name.removesuffix(_SUFFIX), 16) - batch_key * _BATCH_FACTOR
    page, position = divmod(number * _PLACE_INVERSE % _NAMES_MAX, POSITIONS_MAX)
    return position, page


def encode_result(status_code: int, operation_id: str | None, response: bytes) -> bytes:
    """Return the content of a result's file: a JSON array with one object, ASCII only.

    `response` is JSON text as a JSON string.
    """
    operation = b"null" if operation_id is None else quote_json(operation_id)
    return b'[{"status_code":%d,"operation_id":%b,"response":%b}]' % (
        status_code,
        operation,
        response,
    )


def decode_results(content: bytes) -> list[WrittenResult]:
    """Return the results in a JSON array of them. Raises ValueError for anything else."""
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        message = f"These are no results; the data is damaged: {error}"
        raise ValueError(message) from error


_decode = msgspec.json.Decoder(list[WrittenResult]).decode
