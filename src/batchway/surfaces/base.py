"""The contract of a surface: one way in which batches come in, are shown and are refused.

`app.py` makes a `Surface` and gives it to the endpoint of its folder; `server.py` serves any number
of endpoints side by side. Nothing of a surface is module state: two apps in one process share
nothing.
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

# Authorization header, method, query parameters → who sends the request; raises a problem.
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
        """What it serves."""
        ...

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; never raise for what a client can do."""
        ...


def find_base_url(http: HttpRequest, public_url: str) -> str:
    """Return what links begin with: the setting, or else the address that the client used."""
    if public_url:
        return public_url
    return f"{http.url.scheme}://{http.url.netloc}{quote(find_root_path(http.scope))}"


def find_root_path(scope: Scope) -> str:
    """Return the path where the app is mounted: empty, or with a slash before and none behind."""
    return str(scope.get("root_path", "")).rstrip("/")
