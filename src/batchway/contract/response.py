"""The answer to a call: status, body and headers, independent of HTTP."""

from typing import Any

import msgspec

from batchway.contract.paging import Continuation
from batchway.contract.problems import Problem, Refused
from batchway.kit.json_text import JsonText, RenderedJson

Headers = tuple[tuple[str, str], ...]


def _encode_text(value: object) -> msgspec.Raw:
    if isinstance(value, JsonText):
        return msgspec.Raw(value.render())
    raise NotImplementedError


_encoder = msgspec.json.Encoder(enc_hook=_encode_text)
encode = _encoder.encode

EMPTY_OBJECT = b"{}"


class Response(msgspec.Struct, frozen=True, gc=False):
    """One answer.

    `body` is any value that `encode` accepts, or None for no body (with 204). `last_key` is the
    key of the last item on a page of a collection that is sorted by its key. `continuation` is
    where the next page begins, for an operation that reads a whole collection.
    """

    status: int
    body: Any = None
    headers: Headers = ()
    last_key: int | None = None
    continuation: Continuation | None = None


NO_CONTENT = Response(204)


def build_error_response(refused: Refused) -> Response:
    """Return the response for a problem that was raised."""
    return Response(refused.problem.status, refused.problem, refused.headers)


def encode_body(response: Response, instance: str = "") -> bytes:
    """Encode the body as JSON, or as nothing for a 204. A problem document gets its `instance`."""
    if response.body is None:
        return b""
    if instance and isinstance(response.body, Problem):
        return encode(msgspec.structs.replace(response.body, instance=instance))
    return encode(response.body)


def render_body(response: Response) -> JsonText:
    """Render the body of an operation's result as text; it is `{}` for a 204."""
    body = response.body
    if isinstance(body, JsonText):
        return body
    return RenderedJson(EMPTY_OBJECT if body is None else encode(body))
