from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

from dse import __version__
from dse.cli.main import COMMANDS, app
from dse.errors import DataError, StudyError, UsageError
from tests.weights.test_header import write

HEAVY = ("jax", "flax", "optax", "optuna", "pandas", "numpy", "matplotlib", "sklearn", "PIL")
HEAVY += ("rich", "ruamel")

REPORT_IMPORTS = """
import sys
from dse.cli.main import app
for line in sys.argv[2:]:
    try:
        app(line.split(), prog_name="dse")
    except SystemExit as end:
        assert end.code == 0, (line, end.code)
print("imported:", *(name for name in sys.argv[1].split() if name in sys.modules), file=sys.stderr)
"""


def test_help_lists_every_command_with_the_whole_first_line_of_its_help(run):
    result = run("--help")
    assert result.exit_code == 0
    listed = " ".join(result.stdout.partition("Commands:")[2].split())
    lines = (
        f"{name} {module.command.__doc__.splitlines()[0]}" for name, module in COMMANDS.items()
    )
    assert listed == " ".join(lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: dse {name} " in result.stdout
    assert f"\n    dse {name}" in result.stdout
    command = typer.main.get_command(app).commands[name]
    assert [option.name for option in command.params if not option.help] == []


def test_version(run):
    assert run("--version").stdout == f"dse {__version__}\n"


def test_no_command_shows_the_help(run):
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_misspelt_command_and_flag_name_the_nearest_and_exit_with_2(run):
    command, flag = run("descibe", "x"), run("describe", "x", "--jsn")
    assert (command.exit_code, flag.exit_code) == (2, 2)
    assert "No such command 'descibe'. Did you mean 'describe'?" in command.stderr
    assert "No such option: --jsn (Possible options: --json" in flag.stderr


@pytest.mark.parametrize(
    ("error", "status"), [(StudyError("gone"), 1), (DataError("gone"), 1), (UsageError("gone"), 2)]
)
def test_error_is_its_message_alone(run, monkeypatch, error, status):
    monkeypatch.setattr("dse.config.json_schema", _raiser(error))
    result = run("schema")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", "error: gone\n")


def test_every_problem_has_its_own_line(run):
    result = run("describe", "squeezenet", "--set", "freq=0", "--set", "base=3", "--set", "oops")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: --set freq=0: freq is 0, but must be a whole number of at least 1; "
        "SqueezeNet v1.0 uses 2\n"
        "error: --set base=3: unknown metaparameter base of squeezenet; did you mean base_e?\n"
        "error: --set oops: this is not key=value, such as squeeze_ratio=0.5\n"
    )


@pytest.mark.parametrize("where", ["before", "behind", "environment"])
def test_debug_shows_the_trace(run, monkeypatch, where):
    monkeypatch.setattr("dse.config.json_schema", _raiser(StudyError("gone")))
    if where == "environment":
        monkeypatch.setenv("DSE_DEBUG", "1")
    result = run(
        *{"before": ["--debug", "schema"], "behind": ["schema", "--debug"]}.get(where, ["schema"])
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("\nerror: gone\n")


def test_interrupt_is_one_line_and_130(run, monkeypatch):
    monkeypatch.setattr("dse.config.json_schema", _raiser(KeyboardInterrupt()))
    result = run("schema")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_too_little_memory_is_one_error(run, monkeypatch):
    monkeypatch.setattr("dse.config.json_schema", _raiser(MemoryError()))
    result = run("schema")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: there is too little memory (ulimit -v, or")
    assert result.stderr.count("\n") == 1


def test_an_interrupted_process_does_not_wait_to_be_torn_down():
    # Threads in which XLA compiles would crash while the interpreter ends.
    program = (
        "import atexit, sys\n"
        "import dse.config\n"
        "from dse.cli.main import main\n"
        "def interrupted(*_):\n"
        "    print('so far')\n"
        "    raise KeyboardInterrupt\n"
        "dse.config.json_schema = interrupted\n"
        "atexit.register(print, 'torn down')\n"
        "sys.argv = ['dse', 'schema']\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    found = (result.returncode, result.stdout, result.stderr)
    assert found == (130, "so far\n", "interrupted\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_that_goes_away_is_met_with_silence(unbuffered):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "dse.cli.main", "describe", "squeezenet_v1.0"],
            stdout=closed,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_all_help_imports_nothing_heavy():
    lines = ["--help", *(f"{name} --help" for name in COMMANDS)]
    assert imported(HEAVY, *lines) == []


def test_schema_and_describe_import_neither_arrays_nor_tables(tmp_path):
    write(tmp_path / "w.safetensors")
    lines = ["describe squeezenet_v1.0 --json", "describe alexnet squeezenet_v1.0"]
    assert imported(HEAVY, *lines) == []
    # The header of a weights file is read by safetensors, which takes numpy along.
    assert imported(HEAVY, "describe alexnet w.safetensors") == ["numpy"]
    assert imported(HEAVY[:-1], "schema", "describe squeezenet_v1.0 --set freq=1", "spaces") == []


def test_check_imports_no_jax_and_no_plotting():
    forbidden = ("jax", "flax", "optax", "optuna", "pandas", "matplotlib", "sklearn")
    assert imported(forbidden, "check squeeze_ratio --json") == []


def test_front_plot_and_studied_candidates_import_no_jax(toy_keys):
    lines = ["front toy", "plot toy --out toy.svg", f"describe toy/{toy_keys[0.25]}"]
    assert imported(("jax", "flax", "optax", "optuna", "sklearn"), *lines) == []


def imported(names: tuple[str, ...], *lines: str) -> list[str]:
    """Which of `names` a fresh process has imported after running `dse` with these lines."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT_IMPORTS, " ".join(names), *lines],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()[1:]


def _raiser(error: BaseException):
    def fail() -> None:
        raise error

    return fail
