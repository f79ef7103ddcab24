"""Whatever a file holds: a space, or a ConfigError whose every line names the file."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dse.config import load_space, shipped_spaces
from dse.errors import ConfigError
from dse.space import SearchSpace

SEEDS = [
    path.read_text().split("schema", 1)[1]
    for name, path in shipped_spaces()
    if name in ("squeezenet", "downsampling", "cifar10/pct_3x3")
]
PIECES = [
    *(
        "\n",
        "  ",
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "? ",
        "&a ",
        "*a",
        "!!int ",
        "<<: ",
    ),
    *(
        "'",
        '"',
        "|\n",
        ">\n",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "0",
        "-1",
        "1e999",
        "0x",
        ".nan",
    ),
    *("null", "true", "log: true", "step: 0", "values: []", "range: [1, 2]", "\x00", "\x85", "é"),
    *(
        "extends: x.yaml\n",
        "schema: 1\n",
        "family: alexnet\n",
        "limits: {macs: {max: 0}}\n",
        "=",
        "@",
    ),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_a_space_or_an_error(tmp_path, seed, data):
    text = "schema" + seed
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 8, len(text))))
        text = text[:start] + data.draw(st.sampled_from(PIECES)) + text[end:]
    path = Path(tmp_path / "x.yaml")
    path.write_text(text, encoding="utf-8")
    problems: tuple[str, ...] = ()
    space = None
    try:
        space = load_space(path)
    except ConfigError as error:
        problems = error.problems
    assert isinstance(space, SearchSpace) or problems
    for problem in problems:
        assert problem.split(":")[0] == str(path) or "/search_spaces/" in problem
