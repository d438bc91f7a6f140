"""What answers a call: a status and a body, before any HTTP."""

from typing import Any

import msgspec

from batchway.contract.problems import Problem, Refused

Headers = tuple[tuple[str, str], ...]

_encoder = msgspec.json.Encoder()
encode = _encoder.encode

EMPTY_OBJECT = b"{}"


class Response(msgspec.Struct, frozen=True, gc=False):
    """`body` is anything that `encode` takes; None (with 204) is no body."""

    status: int
    body: Any = None
    headers: Headers = ()


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
