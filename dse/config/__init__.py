"""YAML files to frozen data and back, every error with its file and line."""

from dse.config.files import dump_yaml, load_yaml_dict, yaml_text
from dse.config.lookup import find_space, known_spaces, shipped_spaces
from dse.config.schema import json_schema
from dse.config.settings import apply_settings, parse_settings
from dse.config.spacefile import load_space, space_from_dict, space_to_dict

__all__ = [
    "apply_settings",
    "dump_yaml",
    "find_space",
    "json_schema",
    "known_spaces",
    "load_space",
    "load_yaml_dict",
    "parse_settings",
    "shipped_spaces",
    "space_from_dict",
    "space_to_dict",
    "yaml_text",
]
