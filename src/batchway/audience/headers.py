"""Which headers an operation of a batch may have: those that the built-in API honours.

Clients send headers with a single call that they did not choose, such as `User-Agent`, and those
that mean nothing here are ignored. The headers of an operation are chosen: none is ignored.
"""

from collections.abc import Callable, Mapping

from batchway.contract.problems import bad_request

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
    if not any(kind.lower() in _JSON for kind in _read_choices(value)):
        detail = f"The header 'accept' does not allow JSON, which replies are in: {value[:100]!r}."
        raise bad_request(detail)


def _check_accept_language(value: str) -> None:
    languages = [language.partition("-")[0].lower() for language in _read_choices(value)]
    if not any(language in _ENGLISH for language in languages):
        detail = (
            "The header 'accept-language' does not allow English, which replies are in: "
            f"{value[:100]!r}."
        )
        raise bad_request(detail)


def _check_content_type(value: str) -> None:
    """Accept any type: the body is read as JSON, whatever its type, as in single calls."""


def _read_choices(value: str) -> list[str]:
    """Return what a header accepts: its values, except those of quality 0."""
    choices = []
    for each in value.split(","):
        choice, *parameters = [part.strip() for part in each.split(";")]
        qualities = [part[2:].strip() for part in parameters if part.lower().startswith("q=")]
        if not any(quality.rstrip("0") in {"", "."} for quality in qualities):
            choices.append(choice)
    return choices


_CHECKS: Mapping[str, Callable[[str], None]] = {
    "accept": _check_accept,
    "accept-language": _check_accept_language,
    "content-type": _check_content_type,
}
