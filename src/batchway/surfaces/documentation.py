"""`/openapi.json` and `/docs`: what can be called, for programs and for people; without a key."""

import base64
import hashlib
from collections.abc import Sequence

from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from batchway import __version__
from batchway.contract.response import encode
from batchway.openapi.document import Titled, document
from batchway.surfaces.documentation_assets import SCRIPT, STYLE
from batchway.surfaces.documentation_page import page


class Documentation:
    """Serves both; they are made once."""

    def __init__(self, tables: Sequence[Titled], public_url: str = "") -> None:
        """For the calls of these tables. Without a `public_url`, under the reader's own address."""
        described = document(tables, __version__, public_url)
        self._openapi = encode(described)
        self._page = page(described).encode()

    def openapi(self, _http: HttpRequest) -> HttpResponse:
        """The OpenAPI document. Other sites may read it, as tools in a browser do."""
        return HttpResponse(
            self._openapi,
            media_type="application/json; charset=utf-8",
            headers={"Access-Control-Allow-Origin": "*"},
        )

    def docs(self, _http: HttpRequest) -> HttpResponse:
        """The page. Nothing runs or is shown in it but what is ours."""
        return HttpResponse(self._page, media_type="text/html; charset=utf-8", headers=_HEADERS)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; img-src data:; style-src {_hash(STYLE)}; "
    f"script-src {_hash(SCRIPT)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
