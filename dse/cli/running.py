"""What commands that train for long share: images, folders, interruptions, the command's text."""

from __future__ import annotations

import contextlib
import glob
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dse.cli.display import DataProgress, Display
from dse.cli.tables import note
from dse.errors import StudyError, UsageError
from dse.files import private_folder
from dse.text import counted, some_of

SHOWN_CLASSES_COUNT = 10

if TYPE_CHECKING:
    from dse.data import DataDescription, Dataset, DataSpec
    from dse.execution.executor import Executor
    from dse.search.engine import OnEvent, RunEvent
    from dse.weights.given import GivenWeights


def described(spec: DataSpec) -> DataDescription:
    """What is known of the images before they are decoded; says its warnings."""
    from dse.data import describe_data

    with DataProgress() as progress:
        description = describe_data(spec, progress=progress)
    for warning in description.warnings:
        note(f"note: {warning}")
    return description


def note_seen(given: GivenWeights | None, dataset: Dataset) -> None:
    """Say what is to be known of accuracies of networks that started from given weights."""
    if given is None:
        return
    from dse.study.description import TEST_SEEN

    note(f"note: {TEST_SEEN}")
    if given.knows(dataset.classes):
        note(
            f"note: {given.path} tells these classes apart itself; how well says "
            f"dse evaluate {given.path} with the same --data"
        )


def prepared(spec: DataSpec, description: DataDescription) -> Dataset:
    """The images themselves; says the warnings that `description` had not."""
    from dse.data import prepare_data

    with DataProgress() as progress:
        dataset = prepare_data(spec, progress=progress)
    for warning in dataset.warnings:
        if warning not in description.warnings:  # broken images show when they are decoded
            note(f"note: {warning}")
    return dataset


def classes_text(data: DataDescription | Dataset) -> str:
    """The first classes, and how many images of each class are in each split where that is known.

    >>> from dse.data import DataDescription
    >>> counts = {"train": (70, 7), "validation": (10, 1), "test": (20, 2)}
    >>> classes_text(DataDescription("pets", (8, 8, 1), ("cat", "dog"), 77, (), counts))
    'cat 70/10/20, dog 7/1/2 (training/validation/test images)'
    """
    counts = data.class_counts
    if not counts:
        return some_of(data.classes, SHOWN_CLASSES_COUNT)
    per_class = zip(*(counts[split] for split in ("train", "validation", "test")), strict=True)
    told = [
        f"{name} {'/'.join(f'{count:,}' for count in of_class)}"
        for name, of_class in zip(data.classes, per_class, strict=True)
    ]
    return f"{some_of(told, SHOWN_CLASSES_COUNT)} (training/validation/test images)"


def compile_cache() -> Path | None:
    """The folder of compiled programs; None, and a note, where others could put theirs there."""
    from dse.data.spec import CACHE_VARIABLE, cache_root

    try:
        return private_folder(cache_root() / "compiled")
    except OSError as error:
        note(
            f"note: compiled programs are not kept, as {error.filename} {error.strerror}; take "
            f"that away (chmod go-w), or set {CACHE_VARIABLE} to a folder of your own"
        )
        return None


class Progress(Protocol):
    """Follows a run and says how far it is."""

    display: Display

    def __call__(self, event: RunEvent) -> None:
        """Take note of an event and show it."""

    def interrupted(self, directory: Path) -> None:
        """Say what an interrupted run keeps."""


@contextlib.contextmanager
def following(
    progress: Progress, directory: Path, tensorboard: Path | None = None
) -> Iterator[OnEvent]:
    """Show the progress of a run; where it is interrupted, say what is kept in its folder.

    Results of another version of dse or jax that the folder holds are told before.

    Args:
        progress: on the terminal.
        directory: of the study.
        tensorboard: folder that TensorBoard is to find the run in.

    Yields:
        What to call with every event.

    Raises:
        DseError: what is needed for TensorBoard is missing.
    """
    from dse.cli.tensorboard import TensorBoard
    from dse.study.description import current_versions, find_description, versions_text

    now = versions_text(current_versions())
    held = find_description(directory).versions if directory.is_dir() else {}
    if held and versions_text(held) != now:
        note(
            f"note: {directory} holds results of {versions_text(held)}, and this is {now}: their "
            "numbers may differ; choose another --study name to keep them apart"
        )
    board = TensorBoard(tensorboard, directory) if tensorboard else None

    def on_event(event: RunEvent) -> None:
        progress(event)
        if board:
            board()

    with progress.display:
        try:
            yield on_event
        except KeyboardInterrupt:
            progress.interrupted(directory)
            raise
        finally:
            if board:
                board.close()


def end_like_ctrl_c() -> None:
    """Have a terminal that closes, or a `kill`, end a run as Ctrl-C does."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup has it ignored
            signal.signal(ending, signal.default_int_handler)


def command_text() -> str:
    """This command as the user typed it, without the password of a database."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", shlex.join(["dse", *sys.argv[1:]]))


def make_executor(
    name: str,
    address: str,
    workers_count: int | None,
    gpus_per_worker: float | None,
    artifacts: str,
    devices_per_worker: int = 1,
) -> Executor:
    """Where the jobs of a command run.

    Raises:
        UsageError: options of a cluster without one.
        DseError: the cluster cannot be reached.
    """
    from dse.execution.local import LocalExecutor, default_workers

    if name == "ray":
        from dse.execution.ray import connect

        if devices_per_worker > 1 and gpus_per_worker not in (None, 0, 1):
            raise UsageError(
                f"--gpus-per-worker {gpus_per_worker:g} does not go with --devices-per-worker, of "
                "which each has a GPU of its own: leave one of them out"
            )
        executor = connect(
            address,
            workers_count=workers_count,
            num_gpus=gpus_per_worker,
            artifacts=artifacts,
            devices_per_worker=devices_per_worker,
        )
        if workers_count and executor.workers_count < workers_count:
            note(f"note: the cluster has room for {counted(executor.workers_count, 'worker')}")
        return executor
    of_ray = {
        "--address": address,
        "--gpus-per-worker": gpus_per_worker is not None,
        "--artifacts": artifacts,
    }
    for option in (name for name, is_given in of_ray.items() if is_given):
        raise UsageError(f"{option} is of a Ray cluster: give --executor ray too")
    return LocalExecutor(
        workers_count or default_workers(devices_per_worker), devices_per_worker=devices_per_worker
    )


def keeping_programs(executor: Executor) -> Executor:
    """The executor, on this machine with a folder for compiled programs, which is made now."""
    from dse.execution.local import LocalExecutor

    if isinstance(executor, LocalExecutor):
        return replace(executor, compile_cache=compile_cache())
    return executor


@contextlib.contextmanager
def studies_in(storage_url: str, results: Path, names: Sequence[str] | None) -> Iterator[Path]:
    """The folder of these studies: `results`, or one made from what a database holds of them."""
    if not storage_url:
        yield results
        return
    from dse.study.fetched import fetched

    with fetched(storage_url, names, results) as folder:
        yield folder


def check_plots(plots: Path, stem: str) -> None:
    """Make the folder for plots, and see that they can be drawn, before hours of training.

    Args:
        plots: the folder.
        stem: with which the names of the plots begin.

    Raises:
        StudyError: it cannot be made or written, or a folder stands where a plot is to be.
    """
    from dse.report.style import style

    try:
        plots.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=plots):
            pass
    except FileExistsError as error:
        raise StudyError(f"--plots {plots} is a file, but must be a folder") from error
    except OSError as error:
        raise StudyError(f"--plots {plots} cannot be written: {error.strerror}") from error
    for path in plots.glob(f"{glob.escape(stem)}*"):
        if path.suffix in (".png", ".svg") and path.is_dir():
            raise StudyError(f"--plots {plots}: {path} is a folder, where a plot is to be written")
    with style():
        pass


def check_output(path: Path, option: str = "--out") -> None:
    """See that the file of an option can be written before the work that it is to hold.

    Raises:
        StudyError: its folder is missing or cannot be written, or it is a folder itself.
    """
    try:
        if path.is_dir():
            raise StudyError(f"{option} {path} is a folder, but must be a file")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StudyError(f"{option} {path} cannot be written: {error.strerror}") from error
