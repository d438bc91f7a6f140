"""`_links`: where to go from an object, as absolute URLs under one base address."""

from urllib.parse import urlsplit

import msgspec

from batchway.contract.version import API_PREFIX, SCHEMA_PREFIX


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """Members that are absent are left out; the key order is the contract's."""

    rel: str
    href: str
    method: str
    targetSchema: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - the contract's spelling
    schema: str | msgspec.UnsetType = msgspec.UNSET


class Links(msgspec.Struct, frozen=True):
    """Builds links under `base`, the scheme and host that clients reach us by."""

    base: str

    @property
    def host(self) -> str:
        """The host name alone, without a port."""
        return urlsplit(self.base).hostname or "localhost"

    def href(self, path: str) -> str:
        """The URL of a path of the API."""
        return f"{self.base}{API_PREFIX}{path}"

    def link(self, rel: str, method: str, path: str, target: str = "", schema: str = "") -> Link:
        """One link. `target` and `schema` are paths of schema documents, or empty."""
        return Link(
            rel,
            self.href(path),
            method,
            f"{self.base}{SCHEMA_PREFIX}/{target}" if target else msgspec.UNSET,
            f"{self.base}{SCHEMA_PREFIX}/{schema}" if schema else msgspec.UNSET,
        )

    def instance(
        self, definition: str, parent: str, itself: str, *, methods: tuple[str, ...]
    ) -> list[Link]:
        """Links of one object: self, parent, and update and delete where `methods` has them.

        `definition` is the folder of its schema, such as `Lists`.
        """
        response = f"Definitions/{definition}/Response.json"
        links = [
            self.link("self", "GET", itself, response),
            self.link(
                "parent",
                "GET",
                parent,
                f"Definitions/{definition}/CollectionResponse.json",
                f"Paths/{definition}/Collection.json",
            ),
        ]
        if "PATCH" in methods:
            patch = f"Definitions/{definition}/PATCH.json"
            links.append(self.link("update", "PATCH", itself, response, patch))
        if "DELETE" in methods:
            links.append(self.link("delete", "DELETE", itself))
        return links

    def collection(self, definition: str, parent: str, itself: str, *, create: bool) -> list[Link]:
        """Links of a collection: self, parent and, where objects can be made, create."""
        links = [
            self.link(
                "self",
                "GET",
                itself,
                f"Definitions/{definition}/CollectionResponse.json",
                f"Paths/{definition}/Collection.json",
            ),
            self.link("parent", "GET", parent, "Definitions/Response.json"),
        ]
        if create:
            response = f"Definitions/{definition}/Response.json"
            post = f"Definitions/{definition}/POST.json"
            links.append(self.link("create", "POST", itself, response, post))
        return links
