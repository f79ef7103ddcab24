"""The JSON schema accepts what the loader accepts, and marks what an editor should mark."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from dse.architecture import FAMILIES
from dse.config import json_schema, load_yaml_dict, shipped_spaces, space_to_dict
from tests.strategies import finite_spaces

SCHEMA = json_schema()
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "default", "type", "const", "enum"),
    *("properties", "required", "additionalProperties", "minProperties", "items", "minItems"),
    *("maxItems", "uniqueItems", "minLength", "minimum", "maximum", "exclusiveMinimum"),
    *("exclusiveMaximum", "anyOf", "allOf", "not", "if", "then"),
}


def valid(schema: dict[str, Any], data: Any) -> bool:
    """The part of JSON schema 2020-12 that ours uses, as plainly as it can be written."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")] | {
            key: value for key, value in schema.items() if key != "$ref"
        }
    if "if" in schema and valid(schema["if"], data) and not valid(schema["then"], data):
        return False
    return (
        _type(schema.get("type"), data)
        and (
            "const" not in schema
            or (data == schema["const"] and type(data) is type(schema["const"]))
        )
        and ("enum" not in schema or data in schema["enum"])
        and all(valid(part, data) for part in schema.get("allOf", []))
        and ("anyOf" not in schema or any(valid(part, data) for part in schema["anyOf"]))
        and ("not" not in schema or not valid(schema["not"], data))
        and (not isinstance(data, dict) or _object(schema, data))
        and (not isinstance(data, list) or _array(schema, data))
        and (not isinstance(data, str) or len(data) >= schema.get("minLength", 0))
        and (isinstance(data, bool) or not isinstance(data, int | float) or _bounds(schema, data))
    )


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


def _type(name: str | None, data: Any) -> bool:
    if name in ("number", "integer"):
        number = isinstance(data, int | float) and not isinstance(data, bool)
        return number and (name == "number" or data == int(data))
    return name is None or isinstance(data, TYPES[name])


def _object(schema: dict[str, Any], data: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    return (
        all(key in data for key in schema.get("required", []))
        and (schema.get("additionalProperties", True) or set(data) <= set(properties))
        and len(data) >= schema.get("minProperties", 0)
        and all(valid(properties[key], data[key]) for key in data if key in properties)
    )


def _array(schema: dict[str, Any], data: list[Any]) -> bool:
    unique = len({json.dumps(item) for item in data}) == len(data)
    return (
        schema.get("minItems", 0) <= len(data) <= schema.get("maxItems", len(data))
        and (unique or not schema.get("uniqueItems", False))
        and all(valid(schema.get("items", {}), item) for item in data)
    )


def _bounds(schema: dict[str, Any], data: float) -> bool:
    return (
        schema.get("minimum", data) <= data <= schema.get("maximum", data)
        and ("exclusiveMinimum" not in schema or data > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or data < schema["exclusiveMaximum"])
    )


@pytest.mark.parametrize("name", [name for name, _ in shipped_spaces()])
def test_it_accepts_every_shipped_space(name):
    assert valid(SCHEMA, load_yaml_dict(dict(shipped_spaces())[name]))


@given(finite_spaces())
def test_it_accepts_what_a_space_is_written_as(space):
    plain = json.loads(json.dumps(space_to_dict(space)))
    del plain["name"]  # of the record, not of a file
    assert valid(SCHEMA, plain)


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": 2},
        {"schema": True},
        {"family": "squeezenets"},
        {"descripton": "a"},
        {"metaparameters": {"bas_e": 3}},
        {"metaparameters": {"base_e": 0}},
        {"metaparameters": {"base_e": 8.5}},
        {"metaparameters": {"base_e": "8"}},
        {"metaparameters": {"base_e": True}},
        {"metaparameters": {"base_e": [8, 16]}},
        {"metaparameters": {"base_e": {"values": []}}},
        {"metaparameters": {"base_e": {"values": [8, 8]}}},
        {"metaparameters": {"base_e": {"range": [8]}}},
        {"metaparameters": {"base_e": {"range": [0, 8]}}},
        {"metaparameters": {"base_e": {"range": [1, 8], "step": 0.5}}},
        {"metaparameters": {"base_e": {"range": [1, 8], "step": 1, "log": True}}},
        {"metaparameters": {"squeeze_ratio": 0}},
        {"metaparameters": {"squeeze_ratio": {"values": [0.5, 1.1]}}},
        {"metaparameters": {"dropout": 1}},
        {"metaparameters": {"bypass": "both"}},
        {"metaparameters": {"bypass": {"range": [1, 2]}}},
        {"metaparameters": {"pools": "middle"}},
        {"metaparameters": {"pools": ["conv1", 3]}},
        {"metaparameters": {"variant": "small"}},  # of the other family
        {"limits": {"params": {"max": 3}}},
        {"limits": {"macs": {}}},
        {"limits": {"macs": {"max": -1}}},
        {"limits": {"macs": 5}},
    ],
    ids=str,
)
def test_it_refuses(changed):
    good = {"schema": 1, "family": "squeezenet"}
    assert valid(SCHEMA, good)
    assert not valid(SCHEMA, good | changed)


def test_a_family_or_something_to_extend_is_needed():
    assert not valid(SCHEMA, {"schema": 1})
    assert not valid(SCHEMA, {"family": "squeezenet"})
    assert valid(SCHEMA, {"schema": 1, "extends": "a", "metaparameters": {"variant": "small"}})
    assert not valid(SCHEMA, {"schema": 1, "extends": "a", "metaparameters": {"bas_e": 3}})


def test_every_metaparameter_has_its_default_and_description():
    for name, family in FAMILIES.items():
        listed = SCHEMA["$defs"][name]["properties"]
        assert list(listed) == list(family.metaparameters)
        for part in family.metaparameters.values():
            assert listed[part.name]["default"] == part.default
            assert listed[part.name]["description"].startswith(part.description)
            assert valid(listed[part.name], part.default)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
