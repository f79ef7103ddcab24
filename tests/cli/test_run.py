from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dse.cli.main import app
from dse.cli.run import KINDS, _options, study_arguments
from dse.config import load_space, load_yaml_dict, space_from_dict
from dse.config.document import read_document
from dse.errors import ConfigError

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / "tests" / "fixtures" / "sweep" / "tiny-digits"
SEARCH = ROOT / "results" / "squeezenet-cifar10-jpeg-search" / "study.yaml"
SPACE = (
    "{schema: 1, family: squeezenet, "
    "metaparameters: {base_e: 8, squeeze_ratio: {values: [0.25, 0.5]}}}"
)


@pytest.fixture(scope="module")
def options():
    import typer

    group = typer.main.get_command(app)
    return {kind: _options(group.get_command(None, kind)) for kind in KINDS}


def arguments(options, text: str) -> tuple[str, list[str]]:
    Path("a.yaml").write_text(text)
    return study_arguments(Path("a.yaml"), options)


def test_keys_are_options_of_the_command(options):
    text = """
kind: search
space: squeezenet.yaml
data: folder:my photos
image_size: 32
recipe: {lr: 0.05, optimizer: adamw, flip: false}
reference_recipe: best.yaml
objectives: []
objective: [params_count, macs]
reference_apart: true
set: {base_e: {values: [8, 16]}}
margin: 0.01
"""
    kind, found = arguments(options, text.replace("objectives: []\n", ""))
    assert (kind, found) == (
        "search",
        [
            "squeezenet.yaml",
            "--data=folder:my photos",
            "--image-size=32",
            "--recipe=lr=0.05",
            "--recipe=optimizer=adamw",
            "--recipe=flip=false",
            "--reference-recipe=best.yaml",
            "--objective=params_count",
            "--objective=macs",
            "--reference-apart",
            '--set=base_e={"values": [8, 16]}',
            "--margin=0.01",
        ],
    )
    with pytest.raises(ConfigError) as error:
        arguments(options, text)
    assert str(error.value).startswith("a.yaml:8: unknown key objectives of a search; did you mean")


def test_the_kind_follows_from_the_keys(options):
    assert arguments(options, "space: a\nretry_failed: false") == ("sweep", ["a"])
    assert arguments(options, "space: a\nbudget: 60m") == ("search", ["a", "--budget=60m"])
    assert arguments(options, "kind: train\nnetwork: alexnet") == ("train", ["alexnet"])
    assert arguments(options, f"space: {SPACE}") == ("sweep", ["a.yaml"])
    space = load_space(Path("a.yaml"))
    assert (space.name, space.varying) == ("a", ("squeeze_ratio",))


def test_every_problem_is_told_with_its_line(options):
    with pytest.raises(ConfigError) as error:
        arguments(options, "kind: sweep\nspce: a\nseeds:\nretry_failed: 3\njson: true\nseed: 2")
    assert error.value.problems == (
        "a.yaml:2: unknown key spce of a sweep; did you mean space?",
        "a.yaml:3: seeds is empty; give it a value or leave it out",
        "a.yaml:4: retry_failed is 3, but must be true or false",
        "a.yaml:5: unknown key json of a sweep" + error.value.problems[3].partition("sweep")[2],
        "a.yaml:6: unknown key seed of a sweep; did you mean seeds?",
    )
    for text, said in {
        "kind: fly": "a.yaml:1: kind is 'fly', but must be one of sweep, search, train",
        "- 1": "a.yaml:1: must hold a mapping with space, data and options of the command",
        "versions: {}\ncommand: dse sweep\nspace: a": "a.yaml:3: space must hold the space",
    }.items():
        with pytest.raises(ConfigError, match=said):
            arguments(options, text)


def test_a_mistake_in_the_space_of_a_study_file_has_its_line():
    text = "data: digits\nspace:\n  schema: 1\n  family: squeezenet\n  metaparameters: {bas_e: 8}\n"
    Path("a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"^a.yaml:5: .*bas_e.*did you mean base_e"):
        load_space(Path("a.yaml"))


def test_what_a_study_records_is_run_again(options):
    kind, found = study_arguments(SEARCH, options)
    recorded = load_yaml_dict(SEARCH)
    assert kind == "search"
    assert found[0] == str(SEARCH)
    assert load_space(SEARCH).key == space_from_dict(recorded["space"]).key
    assert load_space(SEARCH).name == recorded["space"]["name"]
    assert {"--data=folder:cifar10-jpeg", "--reference=alexnet", f"--recipe={SEARCH}"} <= {*found}
    assert f"--study={recorded['study']}" in found
    assert not [text for text in found if text.startswith(("--results", "--workers", "--epochs"))]


def test_a_recorded_command_writes_nowhere_but_where_the_user_says(options):
    shutil.copytree(SWEEP, "results/tiny-digits")
    path = Path("results/tiny-digits/study.yaml")
    assert "--results" in read_document(path).data["command"]
    kind, found = study_arguments(path, options)
    assert kind == "sweep"
    assert not [text for text in found if "results" in text and text.startswith("--results")]


@pytest.mark.long
def test_the_study_itself_is_found_again_in_its_record(run):
    shutil.copytree(SWEEP, "results/tiny-digits")
    result = run("run", "results/tiny-digits/study.yaml", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "4 of them in the record already" in result.stdout
    assert result.stderr.startswith("runs dse sweep results/tiny-digits/study.yaml --recipe=")
    result = run("run", "results/tiny-digits/study.yaml", "--seeds", "3", "--dry-run")
    assert "6 (2 candidates x 3 seeds), 4 of them in the record already" in result.stdout
    assert run("run", "results/tiny-digits/study.yaml", "--seeds", "no").exit_code == 2
