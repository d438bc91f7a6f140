"""`_links`: absolute URLs of an object and of what can be done with it."""

from urllib.parse import urlsplit

import msgspec

from batchway.contract.version import API_PREFIX, SCHEMA_PREFIX


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link to the object or to an action on it. Keys without a value are omitted."""

    rel: str
    href: str
    method: str
    targetSchema: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - the contract's spelling
    schema: str | msgspec.UnsetType = msgspec.UNSET


class Links(msgspec.Struct, frozen=True):
    """Builds links below `base`, the scheme and host that the client uses to reach this server."""

    base: str

    @property
    def host(self) -> str:
        """The host name without the port."""
        return urlsplit(self.base).hostname or "localhost"

    def build_url(self, path: str) -> str:
        """Return the URL of a path of the API."""
        return f"{self.base}{API_PREFIX}{path}"

    def build_link(
        self, rel: str, method: str, path: str, target: str = "", schema: str = ""
    ) -> Link:
        """Return one link. `target` and `schema` are paths of schema documents, or empty."""
        return Link(
            rel,
            self.build_url(path),
            method,
            f"{self.base}{SCHEMA_PREFIX}/{target}" if target else msgspec.UNSET,
            f"{self.base}{SCHEMA_PREFIX}/{schema}" if schema else msgspec.UNSET,
        )

    def build_object_links(
        self, definition: str, parent: str, itself: str, *, methods: tuple[str, ...]
    ) -> list[Link]:
        """Return the links of one object: self and parent, and update and delete.

        The last two appear only if `methods` has PATCH and DELETE. `definition` is the folder of
        the object's schema, such as `Lists`. `itself` is the path of the object.
        """
        response = f"Definitions/{definition}/Response.json"
        links = [
            self.build_link("self", "GET", itself, response),
            self.build_link(
                "parent",
                "GET",
                parent,
                f"Definitions/{definition}/CollectionResponse.json",
                f"Paths/{definition}/Collection.json",
            ),
        ]
        if "PATCH" in methods:
            patch = f"Definitions/{definition}/PATCH.json"
            links.append(self.build_link("update", "PATCH", itself, response, patch))
        if "DELETE" in methods:
            links.append(self.build_link("delete", "DELETE", itself))
        return links

    def build_collection_links(
        self, definition: str, parent: str, itself: str, *, create: bool
    ) -> list[Link]:
        """Return the links of a collection: self, parent and, if `create` is set, create."""
        links = [
            self.build_link(
                "self",
                "GET",
                itself,
                f"Definitions/{definition}/CollectionResponse.json",
                f"Paths/{definition}/Collection.json",
            ),
            self.build_link("parent", "GET", parent, "Definitions/Response.json"),
        ]
        if create:
            response = f"Definitions/{definition}/Response.json"
            post = f"Definitions/{definition}/POST.json"
            links.append(self.build_link("create", "POST", itself, response, post))
        return links
