"""Which headers an operation of a batch may have: those that the built-in API honours.

Clients send headers with a single call that they did not choose, such as `User-Agent`, and those
that mean nothing here are ignored. The headers of an operation are chosen: none is ignored.
"""

from collections.abc import Callable, Mapping

from batchway.contract.problems import bad_request
from batchway.contract.stream import read_accepted

_JSON = ("application/json", "application/problem+json", "application/*", "*/*")
_ENGLISH = ("en", "*")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise a 400 for a header that would be ignored; names are in lower case."""
    for name, value in headers.items():
        check = _CHECKS.get(name)
        if check is None:
            honoured = ", ".join(sorted(_CHECKS))
            detail = (
                f"The header {name!r} has no meaning for this operation. "
                f"The built-in API honours {honoured}."
            )
            raise bad_request(detail)
        check(value)


def _check_accept(value: str) -> None:
    if not any(kind in _JSON for kind in read_accepted(value)):
        detail = f"The header 'accept' does not allow JSON, which replies are in: {value[:100]!r}."
        raise bad_request(detail)


def _check_accept_language(value: str) -> None:
    languages = [language.partition("-")[0] for language in read_accepted(value)]
    if not any(language in _ENGLISH for language in languages):
        detail = (
            "The header 'accept-language' does not allow English, which replies are in: "
            f"{value[:100]!r}."
        )
        raise bad_request(detail)


def _check_content_type(value: str) -> None:
    """Accept any type: the body is read as JSON, whatever its type, as in single calls."""


_CHECKS: Mapping[str, Callable[[str], None]] = {
    "accept": _check_accept,
    "accept-language": _check_accept_language,
    "content-type": _check_content_type,
}
