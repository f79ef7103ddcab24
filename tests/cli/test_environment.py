"""What the user's environment says never breaks the end: streams, folders, matplotlib."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dse.cli.running import check_output, check_plots
from dse.errors import DataError, StudyError

FIXTURES = Path(__file__).parents[1] / "fixtures"
DSE = (sys.executable, "-m", "dse.cli.main")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")


def dse(*args: str, set_: dict[str, str] | None = None, **streams) -> subprocess.CompletedProcess:
    """Run the command in a process of its own; standard error is text."""
    environment = {**os.environ, **(set_ or {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run([*DSE, *args], env=environment, text=True, **streams)


def test_a_plot_needs_no_backend_and_no_rc_file(run, tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe not UTF-8")
    done = dse(
        *("plot", "tiny-digits", "--results", str(FIXTURES / "sweep")),
        set_={
            "MPLBACKEND": "module://not_installed.backend_inline",
            "MATPLOTLIBRC": str(tmp_path),
            "MPLCONFIGDIR": "/proc/nowhere",
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "plots/tiny-digits.png\nplots/tiny-digits.svg\n"
    (tmp_path / "matplotlibrc").unlink()
    usual = run("plot", "tiny-digits", "--results", FIXTURES / "sweep", "--plots", "usual")
    assert usual.exit_code == 0
    for name in ("tiny-digits.png", "tiny-digits.svg"):
        assert Path("plots", name).read_bytes() == Path("usual", name).read_bytes()


@FULL
def test_a_full_disk_behind_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = dse("spaces", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


def test_a_working_folder_that_was_removed_is_one_line(run, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = run("front", "tiny-digits", "--results", FIXTURES / "sweep")
    monkeypatch.chdir(tmp_path)
    assert (result.exit_code, result.stderr) == (
        1,
        "error: the working folder was removed; change to another one\n",
    )


@FULL
def test_what_cannot_be_told_ends_nothing():
    with open("/dev/full", "w") as full:
        done = dse("describe", "alexnet", "nothing", stderr=full)
        listed = dse("spaces", stderr=full)
    assert (done.returncode, done.stdout) == (1, "")
    assert listed.returncode == 0
    assert "squeeze_ratio" in listed.stdout


def test_a_reader_of_both_streams_that_goes_away_is_met_with_silence():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        assert dse("spaces", stdout=closed, stderr=closed).returncode == 141
        assert dse("spaces", stderr=closed).returncode == 0


@pytest.mark.parametrize(
    "names",
    [("{sweep}/tiny-digits",), ("../sweep/tiny-digits",), ("{sweep}/tiny-digits", "tiny-digits-2")],
)
def test_a_plot_lies_under_the_studys_name(run, tmp_path, monkeypatch, names):
    shutil.copytree(FIXTURES / "sweep" / "tiny-digits", tmp_path / "sweep" / "tiny-digits")
    shutil.copytree(FIXTURES / "sweep" / "tiny-digits", tmp_path / "results" / "tiny-digits-2")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    names = [name.format(sweep=tmp_path / "sweep") for name in names]
    result = run("plot", *names, "--results", "../results", "--plots", "p")
    assert result.exit_code == 0, result.stderr
    stem = "+".join(Path(name).name for name in names)
    assert sorted(os.listdir("p")) == [f"{stem}.png", f"{stem}.svg"]
    assert sorted(os.listdir(tmp_path / "sweep" / "tiny-digits")) == sorted(
        os.listdir(FIXTURES / "sweep" / "tiny-digits")
    )


def test_plots_are_checked_before_training(tmp_path):
    check_plots(tmp_path / "a" / "plots", "study")
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="file is a file, but must be a folder"):
        check_plots(tmp_path / "file", "study")
    with pytest.raises(StudyError, match=r"cannot be written: Not a directory"):
        check_plots(tmp_path / "file" / "plots", "study")
    (tmp_path / "[s]-hypervolume.svg").mkdir()
    check_plots(tmp_path, "s")
    with pytest.raises(StudyError, match=r"\[s\]-hypervolume.svg is a folder, where a plot"):
        check_plots(tmp_path, "[s]")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("there.dsz", "there.dsz is a folder, but must be a file"),
        ("missing/x.dsz", "missing/x.dsz cannot be written: No such file or directory"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_out_is_checked_before_the_work(tmp_path, out, message):
    (tmp_path / "there.dsz").mkdir()
    check_output(Path("x.dsz"))
    with pytest.raises(StudyError, match=message):
        check_output(Path(out))


def test_without_a_home_folder_the_cache_is_asked_for(monkeypatch):
    from dse.data.spec import cache_root, parse_data

    def nobody(*args):
        raise KeyError(args)

    monkeypatch.delenv("DSE_CACHE")
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(DataError, match=r"no home folder to keep prepared images in.*DSE_CACHE="):
        cache_root()
    assert parse_data("folder:~no_such_user/photos").path == Path("~no_such_user/photos").absolute()
