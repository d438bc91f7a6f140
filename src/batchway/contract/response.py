"""What answers a call: a status and a body, before any HTTP."""

from typing import Any

import msgspec

from batchway.contract.paging import Continuation
from batchway.contract.problems import Problem, Refused
from batchway.kit.json_text import JsonText, RenderedJson

Headers = tuple[tuple[str, str], ...]


def _encode_text(value: object) -> msgspec.Raw:
    if isinstance(value, JsonText):
        return msgspec.Raw(value.plain())
    raise NotImplementedError


_encoder = msgspec.json.Encoder(enc_hook=_encode_text)
encode = _encoder.encode

EMPTY_OBJECT = b"{}"


class Response(msgspec.Struct, frozen=True, gc=False):
    """`body` is anything that `encode` takes; None (with 204) is no body.

    `last_key` is the key of the last item of a collection in the order of its keys;
    `continuation` is where the next page begins of one that is being paged through.
    """

    status: int
    body: Any = None
    headers: Headers = ()
    last_key: int | None = None
    continuation: Continuation | None = None


NO_CONTENT = Response(204)


def refusal(refused: Refused) -> Response:
    """The response that a raised problem stands for."""
    return Response(refused.problem.status, refused.problem, refused.headers)


def encode_body(response: Response, instance: str = "") -> bytes:
    """JSON text in UTF-8; nothing at all for a 204. A problem gets its `instance`."""
    if response.body is None:
        return b""
    if instance and isinstance(response.body, Problem):
        return encode(msgspec.structs.replace(response.body, instance=instance))
    return encode(response.body)


def body_text(response: Response) -> JsonText:
    """The body of the result of an operation; `{}` for a 204."""
    body = response.body
    if isinstance(body, JsonText):
        return body
    return RenderedJson(EMPTY_OBJECT if body is None else encode(body))
