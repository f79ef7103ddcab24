"""The JSON schema of a space file, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any

from dse.architecture import ALL_OBJECTIVES, FAMILIES, OBJECTIVES, Metaparameter
from dse.config.keys import SCHEMA_VERSION


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a search space file."""
    bound = {"type": "integer", "minimum": 0}
    limits = {
        name: {
            "type": "object",
            "description": ALL_OBJECTIVES[name].description,
            "properties": {"min": bound, "max": bound},
            "additionalProperties": False,
            "minProperties": 1,
        }
        for name in OBJECTIVES
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dse search space",
        "description": "Which values each metaparameter may take.",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA_VERSION, "description": "version of this format"},
            "family": {
                "enum": list(FAMILIES),
                "description": "; ".join(f"{f.name}: {f.description}" for f in FAMILIES.values()),
            },
            "extends": {
                "type": "string",
                "description": "another space to start from: a file beside this one, or a name",
            },
            "description": {"type": "string", "description": "one line"},
            "metaparameters": {"type": "object"},
            "limits": {
                "type": "object",
                "description": "exact bounds, applied before training",
                "properties": limits,
                "additionalProperties": False,
            },
        },
        "required": ["schema"],
        "additionalProperties": False,
        "anyOf": [{"required": ["family"]}, {"required": ["extends"]}],
        "allOf": [
            {
                "if": {"properties": {"family": {"const": name}}, "required": ["family"]},
                "then": {"properties": {"metaparameters": {"$ref": f"#/$defs/{name}"}}},
            }
            for name in FAMILIES
        ]
        + [
            {
                "if": {"not": {"required": ["family"]}},
                "then": {
                    "properties": {
                        "metaparameters": {
                            "anyOf": [{"$ref": f"#/$defs/{name}"} for name in FAMILIES]
                        }
                    }
                },
            }
        ],
        "$defs": {
            name: {
                "type": "object",
                "description": family.description,
                "properties": {
                    name: _metaparameter(part) for name, part in family.metaparameters.items()
                },
                "additionalProperties": False,
            }
            for name, family in FAMILIES.items()
        },
    }


def _metaparameter(part: Metaparameter) -> dict[str, Any]:
    single: list[dict[str, Any]] = []
    if part.choices:
        single.append({"enum": list(part.choices)})
    if part.kind in ("int", "float"):
        single.append(_number(part))
    if part.kind == "layers":
        single.append({"type": "array", "items": {"type": "string", "minLength": 1}})
    value = single[0] if len(single) == 1 else {"anyOf": single}
    values = {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}
    forms = [value, _form({"values": values})]
    if part.kind in ("int", "float"):
        number = _number(part)
        step = {"type": number["type"], "exclusiveMinimum": 0}
        ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        forms.append(_form({"range": ends}, step=step))
        forms.append(_form({"range": ends}, log={"type": "boolean"}))
    default = list(part.default) if isinstance(part.default, tuple) else part.default
    return {
        "description": f"{part.description}; {part.allowed}",
        "default": default,
        "anyOf": forms,
    }


def _form(required: dict[str, Any], **optional: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _number(part: Metaparameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer" if part.kind == "int" else "number"}
    if part.low is not None:
        schema["exclusiveMinimum" if part.open_low else "minimum"] = part.low
    if part.high is not None:
        schema["exclusiveMaximum" if part.open_high else "maximum"] = part.high
    return schema
