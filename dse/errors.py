"""Every error that `dse` raises on purpose.

    DseError
    ├── UsageError              the command line cannot be understood (exit status 2)
    ├── ConfigError             a YAML file or a setting: all its problems, each with its place
    ├── SpaceError              a search space that cannot be used this way
    ├── SamplerError            a sampler that is not found or that a space does not fit
    ├── ArchitectureError       a candidate that cannot be built; names the layer and the reason
    ├── ObjectiveError          values that cannot be compared
    ├── DataError               images that are missing, broken or too few
    │   ├── ChecksumError       a file that is not the published one
    │   └── ImageError          one image that cannot be decoded
    ├── WeightsError            a weights file that does not hold what it should
    ├── ExportError             a network that a format cannot hold, or a runtime that is missing
    ├── TrainingError           a training run that cannot continue
    │   └── DivergenceError     the loss is no longer a number
    ├── LadderError             epochs that make no ladder of rungs
    └── StudyError              a study that cannot be opened, read or written
        ├── StudyMismatchError  a study of that name holds something else
        └── MachineError        memory, disk, backend or a worker failed, and no candidate did

A message says what is wrong, where, what was found and how to fix it. The command
line prints the message alone and exits with 1 (2 for usage); `--debug` shows the trace.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

PROBLEMS_SHOWN = 20
"""Lines of one message; of more problems only the number is given."""


def problem_lines(problems: Sequence[str]) -> list[str]:
    """The first `PROBLEMS_SHOWN`, and a line that says how many more there are."""
    more = len(problems) - PROBLEMS_SHOWN
    return [*problems[:PROBLEMS_SHOWN], *([f"… and {more:,} more"] if more > 0 else [])]


class DseError(Exception):
    """The root: whatever goes wrong in a way that the user can fix."""


class UsageError(DseError):
    """The command line cannot be understood."""


class ConfigError(DseError):
    """A YAML file or a setting is wrong.

    Attributes:
        problems: every problem that was found, one line each, with `file:line:` in front
            where it stands in a file. The message has the first `PROBLEMS_SHOWN`.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        super().__init__("\n".join(problem_lines(self.problems)))


class SpaceError(DseError):
    """A search space cannot be used this way (infinite, or nothing in it can be built)."""


class SamplerError(DseError):
    """A sampler is not found, or the domains of a space do not fit it."""


class ArchitectureError(DseError):
    """A candidate cannot be built; the message names the layer and the reason."""


class ObjectiveError(DseError):
    """Values that cannot be compared: NaN, or shapes that do not match."""


class DataError(DseError):
    """Images are missing, broken or too few."""


class ChecksumError(DataError):
    """A file is not the published one."""


class ImageError(DataError):
    """One image cannot be decoded.

    Attributes:
        reason: why, without the file's name.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.reason = reason
        super().__init__(f"{os.fsencode(path).decode('utf-8', 'replace')}: {reason}")


class WeightsError(DseError):
    """A weights file does not hold what it should."""


class ExportError(DseError):
    """A format cannot hold a network, its file cannot be written, or a runtime is missing."""


class TrainingError(DseError):
    """A training run cannot continue."""


DIVERGED = "the loss became "
"""How the reason of a training that diverged begins: records tell by it whose fault it was."""


class DivergenceError(TrainingError):
    """The loss is no longer a number.

    Attributes:
        step: optimizer step (counted from 0) at which the loss was first not finite.
        learning_rate: learning rate of that step.
        loss: what it was, NaN or infinite.
        epochs: passes over the training images that were complete by then.
        train_s: seconds of training until then.
    """

    def __init__(
        self,
        step: int,
        learning_rate: float,
        loss: float,
        *,
        epochs: int = 0,
        train_s: float = 0.0,
    ) -> None:
        self.step = step
        self.learning_rate = learning_rate
        self.loss = loss
        self.epochs = epochs
        self.train_s = train_s
        super().__init__(
            f"{DIVERGED}{loss} at step {step} (learning rate {learning_rate:.3g}); "
            "try a lower one: --recipe learning_rate=…"
        )


class LadderError(DseError):
    """Epochs that make no ladder of rungs."""


class StudyError(DseError):
    """A study cannot be opened, read or written."""


class StudyMismatchError(StudyError):
    """A study of that name holds a different space, recipe or data."""


class MachineError(StudyError):
    """Memory, disk, backend or a worker failed: no candidate's fault, and none is recorded."""
