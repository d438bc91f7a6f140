"""The contract of a surface: an HTTP API in which batches are submitted, shown and refused.

`app.py` makes a `Surface` and passes it to the endpoint of the surface. `server.py` serves any
number of endpoints. A surface has no module state, so two apps in one process are independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

from starlette.datastructures import URL
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from batchway.limits import Limits
from batchway.model.account import Identity
from batchway.targets.table import TargetTable


class Authenticator(Protocol):
    """Finds the account and the API key of a request.

    Each method takes the Authorization header, the method and the query parameters of the request.
    """

    def recall(
        self, authorization: str | None, method: str, params: Mapping[str, str]
    ) -> Identity | None:
        """Return the identity if it was found a moment ago, without waiting for anything."""
        ...

    def authenticate(
        self, authorization: str | None, method: str, params: Mapping[str, str]
    ) -> Identity:
        """Return the identity. Raises a problem if there is none."""
        ...


@dataclass(frozen=True)
class Surface:
    """What the calls of one surface have in common.

    `prefix` begins with a slash and is relative to where the app is mounted. `public_url` is the
    address under which clients reach the app, with the path where it is mounted; if it is empty,
    links begin with the address that the client used.
    """

    prefix: str
    authenticator: Authenticator
    targets: TargetTable
    limits: Limits
    public_url: str


class SurfaceEndpoint(Protocol):
    """Answers every request below the prefix of its surface."""

    @property
    def surface(self) -> Surface:
        """The surface that the endpoint serves."""
        ...

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. No request of a client makes this raise."""
        ...


def find_base_url(http: HttpRequest, public_url: str) -> str:
    """Return the beginning of links: the setting, or else the address that the client used."""
    if public_url:
        return public_url
    scope = http.scope
    server = scope.get("server")
    return _build_base_url(
        scope.get("scheme", "http"),
        http.headers.get("host"),
        tuple(server) if server else None,
        find_root_path(scope),
    )


@lru_cache(maxsize=64)  # nearly all requests have one of a few
def _build_base_url(
    scheme: str, host: str | None, server: tuple[str, int] | None, root_path: str
) -> str:
    """Return the beginning of links: with the host of the header, if it is valid."""
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    url = URL(scope={"scheme": scheme, "server": server, "headers": headers, "path": "/"})
    return f"{url.scheme}://{url.netloc}{quote(root_path)}"


def find_root_path(scope: Scope) -> str:
    """Return the path where the app is mounted: empty, or with a slash only at its beginning."""
    return str(scope.get("root_path", "")).rstrip("/")
