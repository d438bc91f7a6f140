"""`/openapi.json` and `/docs`: descriptions of all calls. They need no key."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from batchway import __version__
from batchway.contract.response import encode
from batchway.openapi.document import TitledTable, build_document
from batchway.surfaces.base import find_root_path
from batchway.surfaces.documentation_assets import SCRIPT, STYLE
from batchway.surfaces.documentation_page import render_page

_ROOT_PATHS_MAX = 8  # an app is rarely mounted at more than one path


@dataclass(frozen=True)
class _Rendered:
    openapi: bytes
    page: bytes


class Documentation:
    """Serves the document and the page, which are rendered once per path of the mounted app."""

    def __init__(self, tables: Sequence[TitledTable], public_url: str = "") -> None:
        """Describe the calls of these tables.

        Without a `public_url`, the URL of the server in the document is the path where the app is
        mounted, relative to the address of the document.
        """
        self._tables = tables
        self._public_url = public_url
        self._render = lru_cache(maxsize=_ROOT_PATHS_MAX)(self._render_pages)

    def openapi(self, http: HttpRequest) -> HttpResponse:
        """Answer with the OpenAPI document. Scripts of other sites may read it in a browser."""
        return HttpResponse(
            self._render(find_root_path(http.scope)).openapi,
            media_type="application/json; charset=utf-8",
            headers={"Access-Control-Allow-Origin": "*"},
        )

    def docs(self, http: HttpRequest) -> HttpResponse:
        """Answer with the page. A browser loads and runs nothing else in it."""
        content = self._render(find_root_path(http.scope)).page
        return HttpResponse(content, media_type="text/html; charset=utf-8", headers=_HEADERS)

    def _render_pages(self, root_path: str) -> _Rendered:
        described = build_document(self._tables, __version__, self._public_url or quote(root_path))
        return _Rendered(encode(described), render_page(described).encode())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; img-src data:; style-src {_hash(STYLE)}; "
    f"script-src {_hash(SCRIPT)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
