"""The errors that a server replies with, and what the user can do next."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx
import msgspec

from batchway.cli.terminal import CommandError, printable
from batchway.contract.version import API_PREFIX

SHOWN_CHARACTERS_MAX = 300
_SEE_ERRORS = "For field-specific details, see the 'errors' array."  # is not shown: the errors are

_NEXT_STEPS = {
    401: "Check the API key in --key or BATCHWAY_API_KEY. "
    "On the server's machine, `batchway keys create` makes a new one.",
    403: "This key may not do that. If it was an archive link, it may have expired: request the "
    "results again.",
    413: "Split the input into several batches.",
    429: "Wait until some batches have finished, then try again. List them with: "
    "batchway batches list",
    503: "The server cannot accept this now. Try again later, and check the server's log.",
}
_COMMANDS = {"lists": "lists", "batches": "batches", "batch-webhooks": "webhooks"}


class FieldMistake(msgspec.Struct, frozen=True):
    """One entry of a problem document's `errors`."""

    field: str = ""
    message: str = ""


class ProblemDocument(msgspec.Struct, frozen=True):
    """The part of an error reply that is read here. Any server or target can have written it."""

    title: str = ""
    detail: str = ""
    errors: tuple[FieldMistake, ...] = ()

    def __str__(self) -> str:
        mistakes = "; ".join(f"{each.field}: {each.message}".lstrip(": ") for each in self.errors)
        detail = self.detail.removesuffix(_SEE_ERRORS).strip() if mistakes else self.detail
        text = ": ".join(part for part in (self.title, detail) if part)
        return f"{text} ({mistakes})" if mistakes else text


class Refusal(CommandError):
    """The server replied with an error; `fields` are those that it found wrong."""

    def __init__(
        self, status_code: int, message: str, next_step: str, fields: Sequence[str] = ()
    ) -> None:
        super().__init__(message, next_step)
        self.status_code = status_code
        self.fields = fields


@contextmanager
def advise(next_steps: Mapping[int, str]) -> Iterator[None]:
    """Within the block, replace the next step of refusals that have one of these status codes."""
    try:
        yield
    except Refusal as refusal:
        refusal.next_step = next_steps.get(refusal.status_code, refusal.next_step)
        raise


def build_refusal(url: str, response: httpx.Response, body: bytes, *, has_key: bool) -> Refusal:
    """Return the error for a reply of the server at this URL that is not 2xx."""
    status_code = response.status_code
    if response.is_redirect:
        location = printable(response.headers.get("location", ""))
        message = f"{url} answered {status_code} and redirects to {location}"
        return Refusal(status_code, message, "If that is the server, set --url to it.")
    problem = _read_problem(body)
    message = f"The server answered {status_code} {_describe(response, problem, body)}"
    fields = [each.field for each in problem.errors]
    return Refusal(status_code, message, _find_next_step(response, has_key=has_key), fields)


def _read_problem(body: bytes) -> ProblemDocument:
    try:
        return msgspec.json.decode(body, type=ProblemDocument)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ProblemDocument()


def _describe(response: httpx.Response, problem: ProblemDocument, body: bytes) -> str:
    """Return the problem as text or, if the body is not a problem, the beginning of the body."""
    text = str(problem) or f"{response.reason_phrase}: {body.decode(errors='replace').strip()}"
    return printable(text.strip(": "))[:SHOWN_CHARACTERS_MAX]


def _find_next_step(response: httpx.Response, *, has_key: bool) -> str:
    status_code = response.status_code
    if status_code == httpx.codes.UNAUTHORIZED and not has_key:
        return "Give your API key with --key or BATCHWAY_API_KEY."
    if status_code in _NEXT_STEPS:
        return _NEXT_STEPS[status_code]
    if status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "Try again, and check the server's log."
    if status_code != httpx.codes.NOT_FOUND:
        return ""
    for noun, command in _COMMANDS.items():
        if f"{API_PREFIX}/{noun}/" in response.request.url.path:
            return f"Check the id. List all with: batchway {command} list"
    return "Check the address in --url."
