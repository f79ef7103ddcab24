"""What a space file means, and the exact text for everything that is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dse.config import load_space
from dse.errors import ConfigError
from dse.space import Categorical, Fixed, FloatRange, IntRange, Limit

HEAD = "schema: 1\nfamily: squeezenet\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files into the working directory; the name of the first is returned."""
    monkeypatch.chdir(tmp_path)

    def write_files(**texts: str | bytes) -> Path:
        for name, text in texts.items():
            file = Path(f"{name}.yaml")
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Path(f"{next(iter(texts))}.yaml")

    return write_files


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_space(path)
    return list(caught.value.problems)


def test_the_example_of_the_design(write):
    path = write(
        s=HEAD
        + """\
description: as the ratio grows
metaparameters:
  base_e: 128
  pct_3x3: 5e-1
  squeeze_ratio: {values: [0.125, 0.25, 1]}
  freq: {range: [2, 8], step: 2}
  incr_e: {range: [1, 64], log: true}
  dropout: {range: [0, 0.5]}
  pools: [conv1, fire4]
  bypass:
    values:
      - none
      - simple
limits:
  params_count: {max: 5_000_000}
  macs: {min: 10, max: 5e6}
"""
    )
    space = load_space(path)
    assert (space.name, space.family, space.source) == ("s", "squeezenet", path)
    assert space.description == "as the ratio grows"
    assert list(space.domains.items()) == [
        ("base_e", Fixed(128)),
        ("pct_3x3", Fixed(0.5)),
        ("squeeze_ratio", Categorical((0.125, 0.25, 1.0))),
        ("freq", IntRange(2, 8, 2)),
        ("incr_e", IntRange(1, 64, log=True)),
        ("dropout", FloatRange(0.0, 0.5)),
        ("pools", Fixed(("conv1", "fire4"))),
        ("bypass", Categorical(("none", "simple"))),
    ]
    assert space.limits == {
        "params_count": Limit(max=5_000_000),
        "macs": Limit(min=10, max=5_000_000),
    }


def test_a_list_is_one_value_and_values_vary(write):
    fixed = load_space(write(a=HEAD + "metaparameters: {pools: [conv1, fire4]}\n"))
    varying = load_space(
        write(b=HEAD + "metaparameters: {pools: {values: [late, early, [conv1, fire4]]}}\n")
    )
    assert fixed.size == 1
    assert varying.domains["pools"].values() == ("late", "early", ("conv1", "fire4"))


def test_numbers_and_words_are_those_of_yaml_1_2(write):
    space = load_space(
        write(a=HEAD + "metaparameters: {base_e: 1_0, incr_e: 0x10, pct_3x3: .5, dropout: 1e-1}\n")
    )
    assert [domain.values() for domain in space.domains.values()] == [(10,), (16,), (0.5,), (0.1,)]
    # `no` is a word: in YAML 1.1 it would have been false.
    assert problems_of(write(b=HEAD + "metaparameters: {bypass: no}\n")) == [
        "b.yaml:3: bypass is 'no', but must be one of none, simple, complex"
    ]


def test_every_problem_of_a_file_at_once_each_with_its_line(write):
    path = write(
        s="""\
schema: 1
family: squeezenet
metaparameters:
  base_e: true
  incr_e: "128"
  freq: 0
  freq: 3
  pct_3x3: {values: [0.1, 0.10, 2, null]}
  squeeze_ratio:
    range: [0.5, 0.125]
    step: 0.1
    log: true
  pools: {range: [1, 2]}
  bypass: [none, simple]
  norm: {value: [none]}
  dropout: {values: [], step: 0.1}
  stem_filters: {range: [0, auto]}
  stem_kernel: {range: 3}
  stem_stride: {values: [1], range: [1,2]}
  fire_modules: {}
  bas_e: 3
  final_activation:
limits:
  params_count: {max: -5}
  mac: {max: 3}
  macs: {}
  weight_bytes: {min: 5, max: 2}
  peak_activation_bytes: 5_000
descripton: a
"""
    )
    assert problems_of(path) == [
        "s.yaml:4: base_e is true, but must be a whole number of at least 1",
        "s.yaml:5: incr_e is '128', but must be a whole number of at least 0; "
        "write it without quotes; SqueezeNet v1.0 uses 128",
        "s.yaml:6: freq is 0, but must be a whole number of at least 1; SqueezeNet v1.0 uses 2",
        "s.yaml:7: freq is there twice: on line 6 and on line 7; keep one",
        "s.yaml:8: pct_3x3: the value 0.1 is there twice",
        "s.yaml:8: pct_3x3 is 2, but must be in (0, 1); SqueezeNet v1.0 uses 0.5",
        "s.yaml:8: pct_3x3 is empty, but must be in (0, 1)",
        "s.yaml:10: squeeze_ratio: `low <= high` must hold, but got (low=0.5, high=0.125)",
        "s.yaml:12: squeeze_ratio: a range has a step or is log, not both",
        "s.yaml:13: pools has no range; it is one of auto, late, early, or a list of layer names "
        "such as [conv1, fire4]: use values: [...]",
        "s.yaml:14: bypass is ['none', 'simple'], but must be one of none, simple, complex; "
        "to vary it write {values: [none, simple]}",
        "s.yaml:15: unknown key value; did you mean values?",
        "s.yaml:16: dropout: step belongs to a range, not to values",
        "s.yaml:16: dropout: values is empty, but must name at least one value",
        "s.yaml:17: stem_filters.range is [0, auto], but must be two numbers: [low, high]",
        "s.yaml:18: stem_kernel.range is 3, but must be two numbers: [low, high]",
        "s.yaml:19: stem_stride needs one of values: [...] and range: [low, high], but has both",
        "s.yaml:20: fire_modules needs one of values: [...] and range: [low, high], "
        "but has neither",
        "s.yaml:21: unknown metaparameter bas_e of squeezenet; did you mean base_e?",
        "s.yaml:22: final_activation is empty, but must be one of none, relu",
        "s.yaml:24: params_count.max is -5, but must be a whole number of at least 0",
        "s.yaml:25: unknown cost mac; did you mean macs?",
        "s.yaml:26: macs: a limit needs min or max",
        "s.yaml:27: weight_bytes: `min <= max` must hold, but got (min=5, max=2)",
        "s.yaml:28: peak_activation_bytes is 5000, but must be a mapping such as {max: 500_000}",
        "s.yaml:29: unknown key descripton; did you mean description?",
    ]


RANGES = [
    ("squeeze_ratio: {range: [0.0, 1.0]}", "squeeze_ratio is 0.0, but must be in (0, 1]; SqueezeN"),
    ("base_e: {range: [8.0, 16]}", "base_e is 8.0, but must be a whole number of at least 1; Sque"),
    (
        "base_e: {range: [8, 16], step: 0.5}",
        "base_e: step is 0.5, but the steps between whole numbers are whole numbers",
    ),
    ("base_e: {range: [8, 16], step: 0}", "base_e: step must be above 0, but got 0"),
    ("incr_e: {range: [0, 4], log: true}", "incr_e: a log range must start above 0, but got low=0"),
    (
        "incr_e: {range: [1, 4], log: true, step: 1}",
        "incr_e: a range has a step or is log, not both",
    ),
    ("incr_e: {range: [1, 4], log: yes}", "incr_e.log is yes, but must be true or false"),
    ("incr_e: {range: [1, 4], step: }", "step is empty; give it a value or leave it out"),
    ("incr_e: {range: [1, 4], step: '2'}", "incr_e.step is '2', but must be a number; write it wi"),
    (
        "incr_e: {range: [1, .inf]}",
        "incr_e.range is [1, inf], but must be two numbers: [low, high]",
    ),
    (
        "incr_e: {range: [1, 4, 2]}",
        "incr_e.range is [1, 4, 2], but must be two numbers: [low, high]",
    ),
    ("pools: [conv1, 3]", "pools is ['conv1', 3], but must be one of auto, late, early, or a list"),
    ("base_e: {a: {b: 1}}", "unknown key a; there are values, range, step, log"),
]


@pytest.mark.parametrize(("text", "message"), RANGES, ids=[text for text, _ in RANGES])
def test_one_bad_domain(write, text, message):
    (problem,) = problems_of(write(s=f"{HEAD}metaparameters:\n  {text}\n"))
    assert problem.startswith(f"s.yaml:4: {message}")


EMPTY = "the file is empty, but must hold a mapping with schema, family and metaparameters"
FILES = [
    ("", f"s.yaml: {EMPTY}"),
    ("# only a comment\n", f"s.yaml: {EMPTY}"),
    (
        "- a\n- b\n",
        "s.yaml:1: the file holds a list, but must hold a mapping with schema, family and "
        "metaparameters",
    ),
    ("# c\nfamily: squeezenet\n", "s.yaml:2: schema is missing; write schema: 1"),
    ("schema: 1\n", "s.yaml:1: family is missing; there are squeezenet, alexnet"),
    ("schema: 1\nfamly: squeezenet\n", "s.yaml:2: unknown key famly; did you mean family?"),
    ("schema: 1\nfamily:\n", "s.yaml:2: family is empty; give it a value or leave it out"),
    (
        "schema: 1\nfamily: squeezenets\n",
        "s.yaml:2: family squeezenets not found; did you mean squeezenet?",
    ),
    (
        "schema: 2\nfamily: squeezenet\n",
        "s.yaml:1: schema is 2, but must be 1: this version of dse reads no other",
    ),
    (
        "schema: true\nfamily: squeezenet\n",
        "s.yaml:1: schema is true, but must be 1: this version of dse reads no other",
    ),
    (HEAD + "metaparameters: 3\n", "s.yaml:3: metaparameters is 3, but must be a mapping"),
    (HEAD + "description: 3\n", "s.yaml:3: description is 3, but must be text"),
    (
        HEAD + "metaparameters:\n\tbase_e: 3\n",
        "s.yaml:4: a tab stands where YAML wants spaces; indent with spaces",
    ),
    (
        HEAD + "metaparameters: {base_e: [1, 2\n",
        "s.yaml:4: not YAML: expected ',' or ']', but got '<stream end>' (in what starts on line 3",
    ),
    (
        HEAD + "metaparameters:\n  base_e: 3: 4\n",
        "s.yaml:4: not YAML: mapping values are not allowed here; the line reads 'base_e: 3: 4'",
    ),
    (HEAD + "description: a \x00 b\n", "s.yaml:3: not YAML: unacceptable character #x0000"),
    (HEAD.encode() + b"description: \xff\n", "s.yaml:3: byte 0xff is not UTF-8; save the file as"),
    (HEAD + f"metaparameters: {'[' * 100}", "s.yaml:3: nested more than 20 levels deep"),
    (HEAD + "? {" * 50, "s.yaml:3: nested more than 20 levels deep"),
    (HEAD + "family: " + "{family: 1, family: " * 50, "s.yaml:3: nested more than 20 levels deep"),
    (HEAD + "---\na: 1\n", "s.yaml:3: a second document (---) starts here, but one file holds one"),
    (
        HEAD + f"metaparameters: {{base_e: {'9' * 5000}}}\n",
        "s.yaml:3: the number is too large: it needs more than 64 bits",
    ),
    (HEAD + "? [a]\n: 3\n", "s.yaml:3: a key must be one word"),
    (HEAD + "1: 3\n", "s.yaml:3: the key 1 is not text"),
]


@pytest.mark.parametrize(("text", "message"), FILES, ids=[message[7:40] for _, message in FILES])
def test_one_bad_file(write, text, message):
    (problem,) = problems_of(write(s=text))
    assert problem.startswith(message)


def test_nothing_is_built_from_tags_and_nothing_is_repeated_by_aliases(write):
    marker = Path("called")
    path = write(
        s=f"""\
schema: 1
<<: {{a: 1}}
family: &f squeezenet
description: *f
metaparameters: !!python/object/apply:pathlib.Path.touch [{marker}]
"""
    )
    assert problems_of(path) == [
        "s.yaml:2: the merge key << is not supported; use extends",
        "s.yaml:3: the anchor &f is not supported; write the value where it is needed",
        "s.yaml:4: the alias *f is not supported; write the value out",
        "s.yaml:5: the tag !!python/object/apply:pathlib.Path.touch is not supported; "
        "only plain values are",
    ]
    assert not marker.exists()


def test_what_is_no_file(write, tmp_path):
    write(large="#" * 1_000_001)
    assert problems_of(Path("large.yaml")) == [
        "large.yaml: cannot be read: larger than 1,000,000 bytes, the most that is read"
    ]
    assert problems_of(Path("absent.yaml")) == ["absent.yaml: file not found"]
    Path("folder.yaml").mkdir()
    assert problems_of(Path("folder.yaml")) == ["folder.yaml: this is a folder, not a YAML file"]


# extends


def test_extends_overrides_by_metaparameter_and_by_limit(write):
    path = write(
        child="""\
schema: 1
extends: base
metaparameters: {bypass: simple, base_e: {values: [8, 16]}}
limits: {macs: {min: 7}}
""",
        base=HEAD
        + """\
description: the base
metaparameters: {base_e: 4, freq: 3}
limits: {macs: {max: 9}, params_count: {max: 5}}
""",
    )
    space = load_space(path)
    assert (space.name, space.family, space.description) == ("child", "squeezenet", "")
    assert list(space.domains.items()) == [  # in the base's order, what is new behind it
        ("base_e", Categorical((8, 16))),
        ("freq", Fixed(3)),
        ("bypass", Fixed("simple")),
    ]
    assert space.limits == {"macs": Limit(min=7), "params_count": Limit(max=5)}


def test_extends_looks_beside_the_file_first_then_by_name(write):
    Path("search_spaces").mkdir()
    Path("search_spaces/squeeze_ratio.yaml").write_text(HEAD + "metaparameters: {freq: 5}\n")
    path = write(child="schema: 1\nextends: squeeze_ratio\n")
    assert load_space(path).domains == {"freq": Fixed(5)}  # ./search_spaces
    Path("squeeze_ratio.yaml").write_text(HEAD + "metaparameters: {freq: 6}\n")
    assert load_space(path).domains == {"freq": Fixed(6)}  # beside the file
    shipped = load_space(write(other="schema: 1\nextends: paper/bypass\n"))
    assert shipped.domains["bypass"] == Categorical(("none", "simple", "complex"))


def test_problems_name_the_file_in_which_the_value_stands(write):
    path = write(
        child="schema: 1\nextends: base.yaml\nmetaparameters: {base_e: 0}\n",
        base=f"# c\n{HEAD}metaparameters:\n  incr_e: -3\n",
    )
    assert problems_of(path) == [
        "child.yaml:3: base_e is 0, but must be a whole number of at least 1; "
        "SqueezeNet v1.0 uses 128",
        "base.yaml:5: incr_e is -3, but must be a whole number of at least 0; "
        "SqueezeNet v1.0 uses 128",
    ]


def test_an_extends_loop_shows_the_chain(write):
    path = write(
        a="schema: 1\nextends: b\n", b="schema: 1\nextends: c\n", c="# c\nextends: a\nschema: 1\n"
    )
    assert problems_of(path) == [
        "c.yaml:2: extends goes round in a circle: a.yaml → b.yaml → c.yaml → a.yaml"
    ]
    assert problems_of(write(own="schema: 1\nextends: own\n")) == [
        "own.yaml:2: extends goes round in a circle: own.yaml → own.yaml"
    ]


def test_a_long_chain_ends(write):
    files = {f"f{i}": f"schema: 1\nextends: f{i + 1}\n" for i in range(40)}
    assert problems_of(write(**files)) == ["f16.yaml:2: extends goes through more than 16 files"]


def test_families_do_not_mix(write):
    path = write(child="schema: 1\nextends: base\nfamily: alexnet\n", base=HEAD)
    assert problems_of(path) == [
        "child.yaml:3: family is alexnet, but what it extends is of family squeezenet"
    ]


def test_a_missing_base_says_where_it_was_looked_for(write):
    (problem,) = problems_of(write(child="schema: 1\nextends: squeezenot.yaml\n"))
    assert problem == (
        "child.yaml:2: extends: search space squeezenot.yaml not found: looked for the file "
        "then in ./search_spaces and among the shipped ones; did you mean squeezenet or "
        "squeeze_ratio or cifar10/squeezenet?"
    )
    assert problems_of(write(child="schema: 1\nextends: [a]\n")) == [
        "child.yaml:2: extends is [a], but must be text"
    ]


@pytest.mark.parametrize("line", ["famly: squeezenet", "family: squeezent"])
def test_a_misspelt_family_does_not_hide_the_problems_of_the_metaparameters(tmp_path, line):
    path = tmp_path / "a.yaml"
    path.write_text(f"schema: 1\n{line}\nmetaparameters:\n  base_e: 0\n  pct_33: 0.5\n")
    with pytest.raises(ConfigError) as error:
        load_space(path)
    lines = [problem.split(": ")[0].rsplit(":", 1)[1] for problem in error.value.problems]
    assert lines == ["2", "4", "5"]
