"""Problem documents (RFC 9457) with the texts of the contract, and the exception that carries one.

Only this module decides which HTTP status belongs to a failure.
"""

from collections.abc import Iterable

import msgspec

TYPE = "https://mailchimp.com/developer/marketing/docs/errors/"


class FieldError(msgspec.Struct, frozen=True):
    """A mistake in one field. `field` is a dotted path; an index is `item:N`."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document. `instance` is the id of the request, and empty in results."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[FieldError, ...] | msgspec.UnsetType = msgspec.UNSET


class Refused(Exception):
    """Raised to answer a call with a problem document."""

    def __init__(self, problem: Problem, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers


def build_problem(
    status: int, title: str, detail: str, errors: Iterable[FieldError] | None = None
) -> Problem:
    """Return a problem document without its instance."""
    listed = msgspec.UNSET if errors is None else tuple(errors)
    return Problem(type=TYPE, title=title, status=status, detail=detail, instance="", errors=listed)


def bad_request(detail: str) -> Refused:
    """400 Bad Request."""
    return Refused(build_problem(400, "Bad Request", detail))


def json_parse_exception(detail: str) -> Refused:
    """400: the body is not valid JSON."""
    return Refused(build_problem(400, "JSON Parse Exception", detail))


def invalid_fields(*errors: FieldError) -> Refused:
    """400: some fields are missing or have wrong values."""
    return Refused(build_problem(400, "Invalid Resource", _SEE_ERRORS, errors))


def invalid_field(field: str, message: str) -> Refused:
    """400: one field is missing or has a wrong value."""
    return invalid_fields(FieldError(field, message))


def invalid_resource(detail: str, errors: Iterable[FieldError] | None = None) -> Refused:
    """400: the resource cannot be accepted. `detail` is the reason."""
    return Refused(build_problem(400, "Invalid Resource", detail, errors))


def api_key_missing() -> Refused:
    """401: no key was sent."""
    detail = "Your request did not include an API key."
    return Refused(build_problem(401, "API Key Missing", detail), _AUTHENTICATE)


def api_key_invalid() -> Refused:
    """401: the key is unknown or revoked."""
    detail = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
    return Refused(build_problem(401, "API Key Invalid", detail), _AUTHENTICATE)


def forbidden(detail: str) -> Refused:
    """403: the account may not do this."""
    return Refused(build_problem(403, "Forbidden", detail))


def not_found() -> Refused:
    """404: the resource does not exist, or belongs to another account."""
    return Refused(
        build_problem(404, "Resource Not Found", "The requested resource could not be found.")
    )


def method_not_allowed(allow: Iterable[str], detail: str | None = None) -> Refused:
    """405: the resource exists, but not with this method. `allow` are the methods that it has."""
    return Refused(
        build_problem(405, "Method Not Allowed", detail or _SEE_ALLOW),
        (("Allow", ", ".join(allow)),),
    )


def too_large(detail: str) -> Refused:
    """413: the body is larger than the limit."""
    return Refused(build_problem(413, "Request Entity Too Large", detail))


def request_timeout(seconds: float) -> Refused:
    """504: a single request took longer than its limit."""
    detail = (
        f"The request took longer than {seconds:g} seconds, and may still take effect. Send long "
        "requests as operations of a batch."
    )
    return Refused(build_problem(504, "Request Timed Out", detail))


def unsupported_encoding(encoding: str) -> Refused:
    """415: the content encoding of the body is not supported."""
    detail = (
        f"The content encoding {encoding[:100]!r} is not supported. Compress the body with gzip, "
        "or send it uncompressed."
    )
    return Refused(
        build_problem(415, "Unsupported Media Type", detail),
        (("Accept-Encoding", "gzip, identity"),),
    )


def nested_too_deep() -> Refused:
    """414: the path has too many segments."""
    return Refused(
        build_problem(
            414, "Resource Nesting Too Deep", "The sub-resource requested is nested too deeply."
        )
    )


def invalid_method_override() -> Refused:
    """422: X-HTTP-Method-Override names a method that it may not, or the request is not a POST."""
    detail = "X-HTTP-Method-Override may name PUT, PATCH or DELETE, and only on a POST."
    return Refused(build_problem(422, "InvalidMethodOverride", detail))


def too_many_requests(detail: str, retry_after_seconds: int = 5) -> Refused:
    """429: the client sends too much at once, and may try again after `retry_after_seconds`."""
    return _refuse_for_now(build_problem(429, "Too Many Requests", detail), retry_after_seconds)


def _refuse_for_now(problem: Problem, retry_after_seconds: int) -> Refused:
    return Refused(problem, (("Retry-After", str(retry_after_seconds)),))


def operation_cancelled() -> Refused:
    """499: the batch was cancelled before this operation was run."""
    detail = "The batch was cancelled before this operation was run. It had no effect."
    return Refused(build_problem(499, "Operation Cancelled", detail))


def conflict(detail: str) -> Refused:
    """409: the request conflicts with the current state of the resource."""
    return Refused(build_problem(409, "Conflict", detail))


def no_room(retry_after_seconds: int = 60) -> Refused:
    """503: the disk is almost full. The rest of it is reserved for batches that are running."""
    detail = "There is hardly any room left for results. Please try again later."
    return _refuse_for_now(build_problem(503, "Service Unavailable", detail), retry_after_seconds)


def not_sent(detail: str) -> Refused:
    """503: the operation did not reach its receiver, and had no effect.

    Its own `type` shows that the problem does not come from the receiver.
    """
    return _replace_type("urn:batchway:not-sent", build_problem(503, "Not Sent", detail))


def outcome_unknown(detail: str) -> Refused:
    """504: the operation was sent, but no response arrived. It may have had an effect.

    Its own `type` shows that the problem does not come from the receiver.
    """
    return _replace_type(
        "urn:batchway:outcome-unknown", build_problem(504, "Outcome Unknown", detail)
    )


def _replace_type(own_type: str, original: Problem) -> Refused:
    return Refused(msgspec.structs.replace(original, type=own_type))


def database_busy(retry_after_seconds: int = 5) -> Refused:
    """503: no lock or no connection of the database became free in time."""
    detail = "The database is busy. Please try again later."
    return _refuse_for_now(build_problem(503, "Service Unavailable", detail), retry_after_seconds)


def internal_error() -> Refused:
    """500: an unexpected error of this server."""
    detail = (
        "A deep, internal error has occurred during the processing of your request. "
        "Please contact support."
    )
    return Refused(build_problem(500, "InternalServerError", detail))


_SEE_ERRORS = (
    "The resource submitted could not be validated. For field-specific details, see the "
    "'errors' array."
)
_SEE_ALLOW = (
    "The requested method and resource are not compatible. See the Allow header for this "
    "resource's available methods."
)
_AUTHENTICATE = (("WWW-Authenticate", 'Basic realm="Batchway"'),)
