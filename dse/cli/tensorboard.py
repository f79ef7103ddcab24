"""`--tensorboard DIR`: the events of a run for TensorBoard, one of its runs for each training."""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dse.errors import DseError, StudyError
from dse.study.events import EventReader, LogEvent


class TensorBoard:
    """Passes on what the log of a study says; call it whenever there may be more.

    Where the folder has nothing of the study yet, all that its log holds comes first.

    Args:
        folder: of TensorBoard's files; they go into a folder of the study's name there.
        study: the study's folder.

    Raises:
        DseError: tensorboardX is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path, study: Path) -> None:
        if find_spec("tensorboardX") is None:
            raise DseError(
                "tensorboardX is not installed; install it beside dse: "
                "pip install 'dse[tensorboard]', or from a checkout pip install '.[tensorboard]'"
            )
        self._folder = folder / study.name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            said = f"--tensorboard {folder} cannot be written: {error.strerror}"
            raise StudyError(said) from error
        is_new = not any(self._folder.rglob("events.out.tfevents.*"))
        self._events = EventReader(study, at_end=not is_new)
        self._writers: dict[str, Any] = {}

    def __call__(self) -> None:
        """Write the events since the last call."""
        for event in self._events.read():
            if event.candidate:
                self._write(event)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self()
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, event: LogEvent) -> None:
        from tensorboardX import SummaryWriter

        name = f"{event.candidate}-seed{event.replicate}"
        if name not in self._writers:  # a thread and an open file each, until it ends
            # Else a file of the same second has the same name and replaces this one.
            suffix = f".{secrets.token_hex(4)}"
            self._writers[name] = SummaryWriter(str(self._folder / name), filename_suffix=suffix)
        writer = self._writers[name]
        scalars = {
            "loss": event.loss,
            "validation_accuracy": event.accuracy,
            "test_accuracy": event.test_accuracy,
        }
        told = {tag: value for tag, value in scalars.items() if value is not None}
        for tag, value in told.items():
            writer.add_scalar(tag, value, event.epochs, walltime=event.time_s)
        if event.kind == "ended":
            if event.accuracy is not None and event.epochs == event.full_epochs:
                sizes = {"params_count": event.params_count or 0}
                writer.add_hparams({**event.values}, {**told, **sizes}, "hparams", event.epochs)
            self._writers.pop(name).close()
