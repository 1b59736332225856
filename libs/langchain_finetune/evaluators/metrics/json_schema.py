"""Whether a JSON value fits a schema: what tool schemas use of JSON Schema. Pure.

Types, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`, `anyOf`, `oneOf`, `allOf`,
bounds of numbers, lengths, and references to `$defs`. Other keywords, such as `format`, forbid nothing here,
as in JSON Schema itself. https://json-schema.org/draft/2020-12/json-schema-validation
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_finetune.evaluators.tool_calls import is_json_equal

_MOST_REFERENCES: Final = 64


def fits(value: Any, schema: Any) -> bool:
    """Tell whether a value fits a schema."""
    return _Check(schema).fits(value, schema, _MOST_REFERENCES)


class _Check:
    def __init__(self, root: Any) -> None:
        self._root = root

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        if isinstance(schema, bool) or not isinstance(schema, Mapping) or depth == 0:
            return schema is not False
        return (
            self._is_of_type(value, schema.get("type"))
            and ("const" not in schema or is_json_equal(value, schema["const"]))
            and self._is_in(value, schema.get("enum"))
            and self._fits_others(value, schema, depth)
            and (not isinstance(value, Mapping) or self._fits_object(value, schema, depth))
            and (not isinstance(value, list) or self._fits_list(value, schema, depth))
            and (not isinstance(value, str) or _is_within(len(value), schema, "minLength", "maxLength"))
            and (not _is_number(value) or _is_in_bounds(value, schema))
        )

    def _is_of_type(self, value: Any, wanted: Any) -> bool:
        names = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(names, list):
            return True
        return any(_TYPES[name](value) if name in _TYPES else True for name in map(str, names))

    def _is_in(self, value: Any, allowed: Any) -> bool:
        return not isinstance(allowed, list) or any(is_json_equal(value, each) for each in allowed)

    def _fits_others(self, value: Any, schema: Mapping[str, Any], depth: int) -> bool:
        if isinstance(reference := schema.get("$ref"), str) and not self.fits(
            value, self._found(reference), depth - 1
        ):
            return False
        for name, enough in _COMBINED.items():
            others = schema.get(name)
            if isinstance(others, list) and not enough(
                sum(self.fits(value, other, depth - 1) for other in others), len(others)
            ):
                return False
        return True

    def _found(self, reference: str) -> Any:
        found = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~"), {})
                if isinstance(found, Mapping)
                else {}
            )
        return found if reference.startswith("#") else {}

    def _fits_object(self, value: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> bool:
        properties, required = schema.get("properties"), schema.get("required")
        known: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
        if isinstance(required, list) and any(name not in value for name in required):
            return False
        rest = schema.get("additionalProperties", True)
        if "patternProperties" in schema:
            rest = True
        return all(self.fits(each, known.get(name, rest), depth - 1) for name, each in value.items())

    def _fits_list(self, value: list[Any], schema: Mapping[str, Any], depth: int) -> bool:
        items = schema.get("items", True) if "prefixItems" not in schema else True
        return _is_within(len(value), schema, "minItems", "maxItems") and all(
            self.fits(each, items, depth - 1) for each in value
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_COMBINED: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "anyOf": lambda fitting, _: fitting > 0,
    "oneOf": lambda fitting, _: fitting == 1,
    "allOf": lambda fitting, total: fitting == total,
}
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _is_in_bounds(value: float, schema: Mapping[str, Any]) -> bool:
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    return (
        _is_within(value, schema, "minimum", "maximum")
        and not (_is_number(low) and value <= low)  # type: ignore[operator]
        and not (_is_number(high) and value >= high)  # type: ignore[operator]
    )


def _is_within(value: float, schema: Mapping[str, Any], least: str, most: str) -> bool:
    low, high = schema.get(least), schema.get(most)
    return not (_is_number(low) and value < low) and not (_is_number(high) and value > high)  # type: ignore[operator]
