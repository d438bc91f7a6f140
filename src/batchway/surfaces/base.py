"""The contract of a surface: an HTTP API in which batches are submitted, shown and refused.

`app.py` makes a `Surface` and passes it to the endpoint of the surface. `server.py` serves any
number of endpoints. A surface has no module state, so two apps in one process are independent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from batchway.limits import Limits
from batchway.model.account import Identity
from batchway.targets.table import TargetTable

# Takes the Authorization header, the method and the query parameters of a request, and returns the
# account that sends it. Raises a problem if there is none.
Authenticator = Callable[[str | None, str, Mapping[str, str]], Identity]


@dataclass(frozen=True)
class Surface:
    """What the calls of one surface have in common.

    `prefix` begins with a slash and is relative to where the app is mounted. `public_url` is the
    address under which clients reach the app, with the path where it is mounted; if it is empty,
    links begin with the address that the client used.
    """

    prefix: str
    authenticate: Authenticator
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
    return f"{http.url.scheme}://{http.url.netloc}{quote(find_root_path(http.scope))}"


def find_root_path(scope: Scope) -> str:
    """Return the path where the app is mounted: empty, or with a slash only at its beginning."""
    return str(scope.get("root_path", "")).rstrip("/")
