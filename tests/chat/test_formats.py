"""Whether an answer is the JSON that was asked for, in a sentence."""

import json

import pytest

from tui.services.chat.formats import check_format

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "kind": {"enum": ["a", "b", 1]},
                   "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
    "additionalProperties": False,
}  # fmt: skip


@pytest.mark.parametrize("text, wanted, why", [
    ("anything", None, ""), ("{}", "json", ""), ("[1, null]", "json", ""), ("  \n", "json", "empty, and no JSON"),
    ("{", "json", "not valid JSON: line 1 column 2"), ('{"a": 1,\n "b": }', "json", "not valid JSON: line 2 column 7"),
    ("```json\n{}\n```", "json", "not valid JSON: line 1 column 1"), ("{} and more", "json", "not valid JSON: line 1 column 4"),
    ('{"a": NaN}', "json", "not valid JSON: NaN"), ("[" * 100_000, "json", "not valid JSON: nested too deeply"),
    ('{"name": "x"}', PERSON, ""), ('{"name": "x", "age": 3.0, "kind": "b", "tags": ["q"]}', PERSON, ""),
    ("{}", PERSON, "not as asked: it misses the key name"), ("[]", PERSON, "not as asked: the whole is not an object"),
    ('{"name": 5}', PERSON, "not as asked: name is not a string"),
    ('{"name": "x", "age": 3.5}', PERSON, "not as asked: age is not an integer"),
    ('{"name": "x", "age": true}', PERSON, "not as asked: age is not an integer"),
    ('{"name": "x", "kind": true}', PERSON, "not as asked: kind is none of the values allowed"),
    ('{"name": "x", "tags": ["a", 5]}', PERSON, "not as asked: tags[1] is not a string"),
    ('{"name": "x", "more": 1}', PERSON, "not as asked: it has a key that is not allowed, more"),
    ("null", {"type": ["string", "null"]}, ""), ("5", {"type": ["string", "null"]}, "not as asked: the whole is not a string or null"),
    ("5", {"const": 5}, ""), ("5", {"const": 6}, "not as asked: the whole is none of the values allowed"),
])  # fmt: skip
def test_what_is_wrong_in_words(text, wanted, why):
    assert check_format(text, wanted) == why


def test_what_is_inside_is_named_by_its_place():
    schema = {"type": "object", "properties": {"people": {"type": "array", "items": PERSON}}}
    assert check_format('{"people": [{"name": "x"}, {}]}', schema) == "not as asked: it misses the key name in people[1]"


@pytest.mark.parametrize("schema", [
    {"type": 5, "required": "name", "properties": [], "items": 3, "enum": "x"}, {"type": ["nonsense", 4]}, {"properties": {"a": 5}},
    {"required": [5, None]}, {"$ref": "#"}, {"additionalProperties": False, "properties": None},
])  # fmt: skip
def test_H18_a_schema_that_makes_no_sense_raises_nothing(schema):
    for value in ({"a": 1}, [], "x", 5, None):
        check_format(json.dumps(value), schema)


def test_H19_depth_and_hostile_keys():
    schema: dict = {"type": "object"}
    value: dict = {}
    for _ in range(300):
        schema, value = {"type": "object", "properties": {"a": schema}}, {"a": value}
    assert check_format(json.dumps(value), schema) == ""
    why = check_format('{"a\\u001b[31m\\u202e": 1}', {"additionalProperties": False})
    assert "\x1b" not in why and "\u202e" not in why
