"""Whether an answer is the JSON that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.text import clean_name

DEEPEST: Final = 60
"""Levels of a schema that are followed."""
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int, float),
}
_ARTICLES: Final = {"object": "an object", "array": "an array", "integer": "an integer", "null": "null"}


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def check_format(text: str, wanted: Any) -> str:
    """Why an answer is not what `ConversationSettings.format` asked for, as the end of "The answer is …"; empty where it is.

    Checked are: that it is JSON and nothing else (NaN and Infinity are not), and of a schema `type` (also a list of types), `enum`,
    `const`, `required`, `properties`, `items` (one schema) and `additionalProperties: false`, at any depth down to `DEEPEST`. Everything
    else of a schema (`$ref`, `anyOf`, `pattern`, lengths, ranges …) is taken as kept.
    """
    if wanted is None:
        return ""
    if not text.strip():
        return "empty, and no JSON"
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return f"not valid JSON: line {error.lineno} column {error.colno}"
    except RecursionError:
        return "not valid JSON: nested too deeply"
    except ValueError as error:
        return f"not valid JSON: {clean_name(str(error), 60)}"
    return _check(value, wanted, "", 0) if isinstance(wanted, Mapping) else ""


def _at(path: str) -> str:
    return f" in {clean_name(path, 80)}" if path else ""


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, (object,)))


def _check(value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
    if depth > DEEPEST:
        return ""
    types = schema.get("type")
    names = [types] if isinstance(types, str) else [name for name in types if isinstance(name, str)] if isinstance(types, list) else []
    if names and not any(_is(value, name) for name in names):
        words = " or ".join(_ARTICLES.get(name, f"a {clean_name(name, 20)}") for name in names)
        return f"not as asked: {clean_name(path, 80) or 'the whole'} is not {words}"
    choices = schema.get("enum") if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else None
    if choices is not None and not any(isinstance(value, bool) == isinstance(choice, bool) and value == choice for choice in choices):
        return f"not as asked: {clean_name(path, 80) or 'the whole'} is none of the values allowed"
    if isinstance(value, dict):
        return _check_object(value, schema, path, depth)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, Mapping):
        found = (_check(item, items, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        return next(filter(None, found), "")
    return ""


def _check_object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str, depth: int) -> str:
    required = schema.get("required")
    for name in required if isinstance(required, Sequence) and not isinstance(required, str) else ():
        if isinstance(name, str) and name not in value:
            return f"not as asked: it misses the key {clean_name(name, 80)}{_at(path)}"
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    if schema.get("additionalProperties") is False and (more := [name for name in value if name not in properties]):
        return f"not as asked: it has a key that is not allowed, {clean_name(more[0], 80)}{_at(path)}"
    for name, inner in properties.items():
        if name in value and isinstance(inner, Mapping):
            why = _check(value[name], inner, f"{path}.{name}" if path else name, depth + 1)
            if why:
                return why
    return ""
