from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

from dse.architecture import build, cost, make_candidate
from dse.inference.accuracy import Int8Accuracy
from dse.report.figures.search import SearchFigures
from dse.study.answer import read_answer
from dse.study.table import read_trials

RATIOS = [k / 8 for k in range(1, 9)]
SPACE = f"""\
schema: 1
family: squeezenet
metaparameters:
  base_e: 8
  incr_e: 8
  squeeze_ratio: {{values: {RATIOS}}}
"""
WORDS = [
    *("--set", "squeeze_ratio=0.5", "--set", "bypass={values: [none, simple]}"),
    *("--set", "norm={values: [none, batch]}", "--set", "pools={values: [[conv1], [fire2]]}"),
]
FOLDER = Path("results/toy-digits-search")


def params_count(ratio: float) -> int:
    values = {"base_e": 8, "incr_e": 8, "squeeze_ratio": ratio}
    return cost(build(make_candidate("squeezenet", values), (8, 8, 1), 10)).params_count


@pytest.fixture(autouse=True)
def _space(tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DSE_FAKE_IMAGES", "359,359")
    Path("toy.yaml").write_text(SPACE)


@pytest.fixture
def images() -> None:
    """Named by tests whose searches draw their images, which takes a second."""


@pytest.fixture
def search(run, fake_worker, fast_records, monkeypatch, request):
    """`dse search toy.yaml` with one worker and a small budget against a number.

    Images are drawn for tests that name `images` alone.
    """
    if "images" not in request.fixturenames:
        drawn = SearchFigures((), ())
        monkeypatch.setattr("dse.report.figures.search.plot_search", lambda *_, **__: drawn)

    def search_it(*args, budget: str = "8trials", reference: str = "0.7"):
        options = ("--workers", "1", "--budget", budget, "--reference", reference)
        return run("search", "toy.yaml", *options, *args)

    return search_it


def jobs(monkeypatch) -> Path:
    path = Path("jobs").resolve()
    path.touch()
    monkeypatch.setenv("DSE_FAKE_LOG", str(path))
    return path


def test_it_ends_with_the_answer_and_its_uncertainty(search, images, monkeypatch):
    int8 = Int8Accuracy(359, float32=0.8525, int8=0.85)
    room = importlib.import_module("dse.search.answer")  # dse.search is a function
    monkeypatch.setattr(room, "int8_accuracy", lambda *_, **__: int8)
    result = search()
    assert result.exit_code == 0, result.output
    document = json.loads((FOLDER / "answer.json").read_text())
    answer = document["answer"]
    ratio = answer["metaparameters"]["squeeze_ratio"]
    assert answer["params_count"] == params_count(ratio)
    said = " ".join(result.stdout.split())
    assert f"{answer['candidate']}, {params_count(ratio):,} parameters" in said
    assert "non-inferior to 0.7 with a margin of 0.00% at 95% confidence" in said
    assert answer["p_value"] < 0.05
    assert f"(p = {answer['p_value']:.4f}, 359 confirmation images, 3 seeds)" in said
    assert f"squeeze_ratio {ratio:g}" in said
    assert f"{100 * answer['validation_low']:.2f} to {100 * answer['validation_high']:.2f}" in said
    assert f"weights/{answer['candidate']}-seed1.safetensors" in said
    assert answer["int8_images_count"] == 359
    assert (
        "int8 85.00% on 359 test images as dse export --int8 writes it: -0.25 points against "
        "float32"
    ) in said
    frame = read_trials(FOLDER / "trials.csv")
    cost_ = document["cost"]
    assert (
        f"{len(frame)} trials ({cost_['finished']} to full fidelity, {cost_['stopped']} paused, 0 "
        f"failed), {frame['epochs'].sum():,.0f} epochs"
    ) in said
    for path in (FOLDER / "trials.csv", FOLDER / "answer.json"):
        assert f"written: {path}" in result.stderr
    drawn = [line for line in result.stderr.splitlines() if line.startswith("written: plots/")]
    assert drawn
    assert all(Path(line.removeprefix("written: ")).stat().st_size > 100 for line in drawn)


def test_progress_in_plain_lines(search):
    lines = search(budget="2trials").stderr.splitlines()
    frame = read_trials(FOLDER / "trials.csv")
    first = frame.iloc[0]
    epochs, _, accuracy = first["curve"].split()[0].partition(":")
    begin = lines.index(
        "searching; accuracies are cross-validated on 648 training images (3 of 5 folds)"
    )
    assert lines[begin + 1] == (
        f"squeeze_ratio {first['squeeze_ratio']:g}: accuracy {float(accuracy):.2%} after {epochs} "
        "epochs"
    )
    assert "finals: more seeds for the candidates around the reference" in lines
    assert "study toy-digits-search: 8 feasible candidates of 8, budget 2 trials" in "\n".join(
        lines
    )


def test_json_is_the_only_thing_on_stdout(search, images):
    document = json.loads(search("--json").stdout)
    plots = document.pop("plots")
    # Of the 359 validation images 37 are threes.
    assert document.pop("largest_class_share") == 37 / 359
    assert len(document.pop("recall")) == 10
    assert document == json.loads((FOLDER / "answer.json").read_text())
    assert all(Path(path).is_file() for path in plots)
    assert read_answer(FOLDER / "answer.json").study == "toy-digits-search"


def test_the_same_command_again_trains_nothing_and_says_the_same(search, monkeypatch):
    log = jobs(monkeypatch)
    first = search()
    trained = log.read_text()
    assert trained.count('"task": "test"') == 3
    monkeypatch.setenv("DSE_FAKE_SILENT", "1")  # no worker could start
    again = search()
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    assert log.read_text() == trained
    count = len(read_trials(FOLDER / "trials.csv"))
    assert f"{count} trials in the record, 8 candidates sampled; resuming" in (again.stderr)


def test_a_reference_network_is_trained_once(search, monkeypatch):
    log = jobs(monkeypatch)
    first = search(reference="alexnet")
    assert first.exit_code == 0, first.output
    assert "reference alexnet: 3 seeds of 20 epochs; measured once" in first.stderr
    assert "[3/3] reference alexnet, seed 2: validation accuracy 79.94%" in first.stderr
    references = [line for line in log.read_text().splitlines() if '"alexnet"' in line]
    assert len(references) == 3
    document = json.loads((FOLDER / "answer.json").read_text())
    size = document["reference"]["params_count"]
    assert document["answer"]["times_fewer"] == size / document["answer"]["params_count"]
    tenths = 10 * size // document["answer"]["params_count"]
    times = f"{tenths // 10}.{tenths % 10} times fewer than alexnet"
    assert times in " ".join(first.stdout.split())
    other = search("--study", "other", reference="alexnet")
    assert other.exit_code == 0, other.output
    assert "measured once" not in other.stderr
    assert "validation accuracy 79.94%, mean of 3 seeds (results/references/alexnet-digits-" in (
        other.stderr
    )
    assert len([x for x in log.read_text().splitlines() if '"alexnet"' in x]) == 3
    seeded = search("--study-seed", "1", "--study", "seeded", reference="alexnet")
    assert seeded.exit_code == 0, seeded.output


RUNGS = ("--first-rung", "5")
"""On digits a candidate is trained to full fidelity unless a rung is asked for."""


def test_ctrl_c_says_the_best_so_far_and_how_to_go_on(search, monkeypatch):
    from dse.execution import local as module

    class Interrupted(module.LocalSession):
        after = 1

        def serve(self, source, **options):
            for number, event in enumerate(super().serve(source, **options)):
                if number == self.after:
                    raise KeyboardInterrupt
                yield event

    with monkeypatch.context() as patch:
        patch.setattr(module, "LocalSession", Interrupted)
        result = search(*RUNGS)
        assert result.exit_code == 130
        assert (
            "no candidate that was trained to full fidelity reaches the reference, 70.00% yet"
            in (result.stderr)
        )
        assert "0 done, 1 running, 0 paused" in result.stderr
        assert result.stderr.splitlines()[-2:] == [
            "the same command resumes",
            "interrupted",
        ]
        Interrupted.after = 40
        result = search(*RUNGS)
    assert result.exit_code == 130
    assert "best so far, not yet confirmed: " in result.stderr
    assert "all of it is kept in results/toy-digits-search" in result.stderr
    assert result.stdout == ""
    whole = search(*RUNGS)
    assert whole.exit_code == 0
    undisturbed = search(*RUNGS, "--study", "undisturbed")
    parts = [text.rpartition(",")[0] for text in (undisturbed.stdout, whole.stdout)]
    assert parts[0] == parts[1], "but for the seconds it took"


def test_ctrl_c_says_the_answer_that_stands(search, monkeypatch):
    from dse.execution import local as module

    assert search(budget="4trials", reference="0.4").exit_code == 0
    answer = json.loads((FOLDER / "answer.json").read_text())["answer"]

    class Interrupted(module.LocalSession):
        def serve(self, source, **options):
            for event in super().serve(source, **options):
                yield event
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "LocalSession", Interrupted)
    result = search(reference="0.4")
    assert result.exit_code == 130
    assert (
        f"the answer so far: {answer['params_count']:,} parameters ({answer['candidate']}, claimed "
        "before)"
    ) in result.stderr
    assert "no candidate that was trained" not in result.stderr


def test_a_study_that_holds_something_else_is_refused_before_the_reference(
    run, search, fake_worker, monkeypatch
):
    monkeypatch.setenv("DSE_FAKE_CLOSED_FORM", "1")
    assert run("sweep", "toy.yaml", "--workers", "1").exit_code == 0
    log = jobs(monkeypatch)
    mistaken = search("--study", "toy-digits", reference="alexnet")
    assert mistaken.exit_code == 1
    assert "results/toy-digits holds another study; nothing was changed" in mistaken.stderr
    reused = search("--reuse", "toy-digits", "--epochs", "3", reference="alexnet")
    assert reused.exit_code == 1
    assert "recipe.epochs: 3 wanted, 15 in the study" in reused.stderr
    dry = run("search", "toy.yaml", "--dry-run", "--study", "toy-digits")
    assert dry.exit_code == 1
    assert "kind: search wanted, sweep in the study" in dry.stderr
    assert log.read_text() == ""
    assert os.listdir("results") == ["toy-digits"]


def test_a_dry_run_says_what_is_in_the_record(run, search):
    assert search(budget="2trials").exit_code == 0
    count = len(read_trials(FOLDER / "trials.csv"))
    before = (FOLDER / "study.db").read_bytes()
    arguments = ("search", "toy.yaml", "--dry-run", "--reference", "0.7")
    assert json.loads(run(*arguments, "--json").stdout)["recorded_count"] == count
    said = " ".join(run(*arguments).stdout.split())
    assert f"record {count} trials of this study in the record" in said
    assert (FOLDER / "study.db").read_bytes() == before


def test_nothing_qualifies_and_the_nearest_is_shown(search, images):
    result = search(reference="0.95")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "none: no candidate is shown to be non-inferior to 0.95 at 95% confidence" in said
    assert "nearest" in said
    assert "in test" not in said
    document = json.loads((FOLDER / "answer.json").read_text())
    assert document["found"] is False
    assert document["tested_count"] == 0


def test_a_budget_too_small_names_itself(search):
    result = search(budget="5epochs")
    assert result.exit_code == 1
    assert "error: the budget of 5 epochs is too small: a candidate takes 15 epochs to " in (
        result.stderr
    )
    assert "give --budget 25epochs or more" in result.stderr
    assert "Traceback" not in result.output
    assert not (FOLDER / "answer.json").exists()


def test_more_budget_goes_on(search):
    search(budget="2trials")
    before = len(read_trials(FOLDER / "trials.csv"))
    result = search(budget="6trials")
    assert result.exit_code == 0
    assert len(read_trials(FOLDER / "trials.csv")) > before
    refused = search("--sampler", "random")
    assert refused.exit_code == 1
    assert "search.sampler: random wanted, level in the study" in refused.stderr


def test_lists_of_layers_are_words_in_the_answer(search):
    result = search("--set", "pools={values: [[conv1], [conv1, fire2]]}", reference="0.3")
    assert result.exit_code == 0, result.output
    pools = read_answer(FOLDER / "answer.json").answer.metaparameters["pools"]
    assert pools in ("conv1", "conv1 fire2")
    assert f"pools {pools}" in " ".join(result.stdout.split())


def test_several_objectives(search):
    result = search("--objective", "macs", "--objective", "params_count", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["objectives"] == ["macs", "params_count"]


def test_a_sweep_is_reused(run, search, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_CLOSED_FORM", "1")
    assert run("sweep", "toy.yaml", "--workers", "1").exit_code == 0
    log = jobs(monkeypatch)
    result = search("--reuse", "toy-digits")
    assert result.exit_code == 0, result.output
    assert "8 finished trials imported from other studies" in result.stderr
    assert all(json.loads(line)["replicate"] > 0 for line in log.read_text().splitlines())
    missing = search("--reuse", "nowhere", "--study", "b")
    assert missing.exit_code == 1
    assert "error: --reuse nowhere: no study.db found; only studies whose record" in (
        missing.stderr
    )


def test_a_dry_run_shows_the_plan_and_leaves_nothing(run):
    arguments = ("search", "toy.yaml", "--dry-run", "--workers", "2")
    document = json.loads(run(*arguments, "--json").stdout)
    assert document["study"] == "toy-digits-search"
    assert (document["space_size"], document["feasible_count"]) == (8, 8)
    assert document["sizes"] == {
        "params_count": {"min": params_count(0.125), "max": params_count(1.0)}
    }
    assert document["rungs"] == [15]
    assert document["recipe"]["epochs"] == 15
    assert document["reference"]["name"] == "alexnet"
    assert document["reference"]["recipe"]["epochs"] == 20
    assert document["budget"] == "5m"
    assert list(document["stages"]) == ["start", "reference", "search", "finals", "end"]
    assert sum(document["stages"].values()) == pytest.approx(300)
    text = " ".join(run(*arguments).stdout.split())
    assert "8 feasible candidates of 8" in text
    assert f"{params_count(0.125):,} to {params_count(1.0):,}" in text
    assert "rungs 15 epochs" in text
    assert "5m, sampler level, 2 workers" in text
    with_rungs = json.loads(run(*arguments, "--json", *RUNGS).stdout)
    assert with_rungs["rungs"] == [5, 15]
    assert "5m, sampler level, 2 workers" in " ".join(run(*arguments, *RUNGS).stdout.split())
    assert os.listdir() == ["toy.yaml"]
    number = run(*arguments, "--reference", "0.9", "--budget", "90m", "--json")
    assert json.loads(number.stdout)["reference"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--objective", "param_count"], 2, "--objective param_count: unknown cost; did you mean"),
        (["--margin", "-0.1"], 2, "--margin -0.1: must be a fraction from 0 to below 1"),
        (["--margin", "x%"], 2, "--margin x%: must be a fraction"),
        (["--margin", "100%"], 2, "--margin 100%: must be a fraction"),
        (["--margin", "nan"], 2, "--margin nan: must be a fraction"),
        (["--confidence", "95"], 2, "--confidence 95: must be a fraction from 0.5 to below 1"),
        (["--confidence", "nan"], 2, "--confidence nan: must be a fraction"),
        (["--confidence", "0.2"], 2, "--confidence 0.2: must be a fraction"),
        (["--budget", "soon"], 1, "the budget is 'soon', but must be a time, trials or epochs"),
        (["--budget", "0h"], 1, "the budget is '0h', but must be finite and above 0"),
        (["--reference", "alexnt"], 1, "--reference alexnt: unknown network; did you"),
        (["--reference", "80"], 1, "--reference 80: an accuracy is a fraction between 0 and 1"),
        (["--sampler", "tpee"], 1, "there is no sampler 'tpee'; did you mean tpe?"),
        (["--sampler", "gp", *WORDS], 1, "toy varies only bypass, norm, pools, by lists of words"),
        (
            ["--reference", "alexnet", "--reference-recipe", "epoch=1"],
            1,
            "--reference-recipe epoch=1: epoch is no part of",
        ),
        (["--recipe", "batch_size=5000"], 1, "fewer than one batch of 5000"),
        (["--seeds", "2"], 2, "--seeds"),
        (["--study", "a/b"], 2, "must be a plain name"),
        (["--set", "squeeze_ratio={range: [2, 1]}"], 1, "squeeze_ratio"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_made(run, fake_worker, arguments, status, message):
    result = run("search", "toy.yaml", "--reference", "0.7", "--budget", "2trials", *arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert os.listdir() == ["toy.yaml"]


def test_a_limit_that_leaves_nothing_shows_the_smallest_possible(run):
    with Path("toy.yaml").open("a") as file:
        file.write("limits:\n  params_count: {max: 10}\n")
    result = run("search", "toy.yaml", "--dry-run")
    assert result.exit_code == 1
    assert f"{params_count(0.125):,}" in result.stderr
    assert "Traceback" not in result.output


def test_a_plot_folder_that_cannot_be_is_refused_before_training(run):
    Path("plots").write_text("a file")
    result = run("search", "toy.yaml")
    assert result.exit_code == 1
    assert "--plots plots is a file, but must be a folder" in result.stderr
    assert not Path("results").exists()
