from __future__ import annotations

import json
from pathlib import Path

from dse.config import json_schema


def test_schema_is_printed_or_written(run):
    printed = run("schema")
    assert json.loads(printed.stdout) == json_schema()
    written = run("schema", "--out", "space.schema.json")
    assert written.stdout == "space.schema.json\n"
    assert Path("space.schema.json").read_text() == printed.stdout


def test_file_that_cannot_be_written(run):
    result = run("schema", "--out", "absent/space.schema.json")
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "error: --out absent/space.schema.json: cannot be written: No such file or directory\n",
    )
