"""The JSON Schemas of bodies and replies, each with a unique name.

The schema of a reply requires no field, because `fields` and `exclude_fields` select any of them.
Therefore a struct that is used in bodies and in replies gets two schemas.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from batchway.contract.links import Link

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"

_TEMPLATE = REFERENCE + "{name}"
# Suffixes of module names that would add nothing to the name of a schema.
_MODULE_SUFFIX = re.compile(r"_(body|calls|rows)$")


class Schemas:
    """Collects the schemas of structs. Adding a struct twice adds one schema."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._owners: dict[str, type] = {}
        self.add_replies([Link])

    def add_replies(self, types: Iterable[type]) -> dict[type, Schema]:
        """Add structs of replies. Returns references to their schemas."""
        return self._add(types, "Reply", _make_optional)

    def add_bodies(self, types: Iterable[type]) -> dict[type, Schema]:
        """Add structs of bodies that must be complete. Returns references to their schemas."""
        return self._add(types, "Input", _keep_required)

    def add_changes(self, types: Iterable[type]) -> dict[type, Schema]:
        """Add structs of bodies that may be partial. Returns references to their schemas."""
        return self._add(types, "Changes", _make_optional)

    def add_problem(self, problem: type) -> Schema:
        """Add the struct of problems, which are always complete. Returns a reference to it."""
        return self._add([problem], "Problem", _keep_required)[problem]

    def add_details(self, body: Schema, details: Mapping[str, Mapping[str, Any]]) -> None:
        """Add keywords to the fields of a body, which are named by their dotted paths."""
        for path, keywords in details.items():
            schema = body
            for name in path.split("."):
                schema = self._find_object(schema)["properties"][name]
            _add_keywords(schema, keywords)

    def has_required_fields(self, body: Schema) -> bool:
        """Whether a body has required fields, so that the body itself is required."""
        return "required" in self._find_object(body)

    def _find_object(self, schema: Schema) -> Schema:
        """Find the object that a schema refers to, directly or as the elements of an array."""
        found: Schema = schema.get("anyOf", [schema])[0]
        found = found.get("items", found)
        if "$ref" in found:
            return self.components[found["$ref"].removeprefix(REFERENCE)]
        return found

    def _add(
        self, types: Iterable[type], suffix: str, transform: Callable[[Schema], Schema]
    ) -> dict[type, Schema]:
        wanted = list(dict.fromkeys(types))
        titles = self._choose_titles(wanted)
        references, found = msgspec.json.schema_components(wanted, ref_template=_TEMPLATE)
        cleaned = {name: _type_links(transform(schema)) for name, schema in found.items()}
        names = {
            name: self._choose_name(titles[name], schema, suffix)
            for name, schema in cleaned.items()
        }
        for name, schema in cleaned.items():
            title = names[name]
            self.components.setdefault(title, _rename_references(schema, names) | {"title": title})
        return dict(
            zip(wanted, (_rename_references(each, names) for each in references), strict=True)
        )

    def _choose_titles(self, types: Iterable[type]) -> dict[str, str]:
        """Choose the title of each struct, and map both names that msgspec may use to it."""
        titles: dict[str, str] = {}
        for struct in _find_structs(msgspec.inspect.multi_type_info(types)):
            for title in _suggest_titles(struct):
                if self._owners.setdefault(title, struct) is struct:
                    break
            else:
                message = f"{struct} and {self._owners[title]} have the same title {title}"
                raise ValueError(message)
            titles[struct.__name__] = title
            titles[f"{struct.__module__}.{struct.__qualname__}"] = title
        return titles

    def _choose_name(self, title: str, schema: Schema, suffix: str) -> str:
        """Choose the name of a schema. It gets the suffix if another schema has the plain name."""
        taken = self.components.get(title)
        is_same = taken == schema | {"title": title} and "$ref" not in str(schema)
        return title if taken is None or is_same else title + suffix


def _keep_required(schema: Schema) -> Schema:
    """Keep what is required. Show only the defaults that tell a reader something."""
    return _clean_schema(schema, lambda field: field.get("default") in ("", None))


def _make_optional(schema: Schema) -> Schema:
    """Require nothing, and show no defaults: an absent field does not mean its default."""
    schema = _clean_schema(schema, lambda _field: True)
    return {key: value for key, value in schema.items() if key != "required"}


def _clean_schema(schema: Schema, hides_default: Callable[[Schema], bool]) -> Schema:
    properties = {
        name: {
            key: value
            for key, value in field.items()
            if key != "default" or not hides_default(field)
        }
        for name, field in schema.get("properties", {}).items()
    }
    cleaned = {key: value for key, value in schema.items() if key != "required" or value}
    return cleaned | ({"properties": properties} if properties else {})


def _type_links(schema: Schema) -> Schema:
    """Replace the type of `_links`, which is any JSON where links are encoded in advance."""
    properties = schema.get("properties", {})
    if "_links" not in properties:
        return schema
    links = {"type": "array", "items": {"$ref": REFERENCE + Link.__name__}}
    return schema | {"properties": properties | {"_links": links}}


def _add_keywords(schema: Schema, keywords: Mapping[str, Any]) -> None:
    """Add a description to the whole field, and other keywords to its value if it may be null."""
    value = schema.get("anyOf", [schema])[0]
    for keyword, content in keywords.items():
        (schema if keyword == "description" else value)[keyword] = content


def _rename_references(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return [_rename_references(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _rename_references(each, names) for key, each in value.items()}
    reference = found.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix(REFERENCE)
        found["$ref"] = REFERENCE + names.get(name, name)
    return found


def _find_structs(value: object) -> Iterator[type]:
    """Yield every struct that a type description contains, once. Some contain themselves."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple):
            waiting += reversed(each)
        elif isinstance(each, msgspec.inspect.StructType) and each.cls not in seen:
            seen.add(each.cls)
            yield each.cls
            waiting += reversed(each.fields)
        elif not isinstance(each, msgspec.inspect.StructType) and isinstance(each, _DESCRIPTIONS):
            waiting += [getattr(each, name) for name in each.__struct_fields__]


_DESCRIPTIONS = msgspec.inspect.Type | msgspec.inspect.Field


def _suggest_titles(struct: type) -> Iterator[str]:
    """Yield the possible titles. A private name is unique in its module only: add the module's."""
    name = struct.__name__
    if not name.startswith("_"):
        yield name
        return
    module = struct.__module__.rpartition(".")[2]
    for prefix in map(_to_camel_case, (_MODULE_SUFFIX.sub("", module), module)):
        plain = name.lstrip("_")
        yield plain if plain.startswith(prefix) else prefix + plain


def _to_camel_case(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
