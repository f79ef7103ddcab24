"""Mutated inputs: whatever a file holds, reading it gives a value or a `DseError`, and soon.

A `Kind` names sound contents, how they are mutated, and what reads them. `fuzz` tries it: input
number n of a seed is the same on every machine, and whatever fails is printed with its input,
which is kept. To try one again: `read_again(kind, folder, number, seed)`.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import FrameType

from dse.errors import DseError

MOST_S = 1.0
MOST_BYTES = 300 * 10**6
_HANGS_S = 60 * MOST_S  # of the processor's time
_ROOM_BYTES = 2 * 10**9  # a bomb is a MemoryError, and not the end of the machine
_SHOWN_COUNT = 5

Mutate = Callable[[Random, bytes], bytes]


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of input.

    Attributes:
        name: of the file, with its suffix: some readers look at it.
        sound: contents that are read without an error.
        mutate: makes another content of one of them.
        read: what is tried; given the path of a file with the content.
        count: inputs in the default run.
        long_count: inputs in the long run.
        most_s: of the processor's time for each.
    """

    name: str
    sound: tuple[bytes, ...]
    mutate: Mutate
    read: Callable[[Path], object]
    count: int = 100
    long_count: int = 8000
    most_s: float = MOST_S

    def __str__(self) -> str:
        return self.name

    def content(self, number: int, seed: int = 0) -> bytes:
        """Input `number` of a seed."""
        rng = Random(f"{self.name} {seed} {number}")
        return self.mutate(rng, rng.choice(self.sound))


@dataclass
class Outcome:
    """What came of the inputs of a kind."""

    read_count: int = 0
    refused_count: int = 0
    slowest_s: float = 0.0
    most_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.read_count + self.refused_count:,} inputs: {self.read_count:,} read, "
            f"{self.refused_count:,} refused; slowest {self.slowest_s:.2f} s, most memory "
            f"{self.most_bytes / 1e6:.0f} MB"
        )


class HangError(BaseException):
    """Too much of the processor's time: passes every `except Exception`."""


def fuzz(kind: Kind, folder: Path, count: int, *, seed: int = 0, is_shared: bool = True) -> Outcome:
    """Try `count` inputs of a kind.

    Args:
        kind: of input.
        folder: an empty one for the inputs.
        count: how many.
        seed: of all of them.
        is_shared: whether others compute on the machine too: then an input has five times as
            long, since what is measured is theirs as well.

    Raises:
        AssertionError: some ended in another way than with a value or a `DseError`, took more
            than a second or 300 MB; the first few with their inputs and traces.
    """
    if is_shared:
        kind = replace(kind, most_s=5 * kind.most_s)
    for number, content in enumerate(kind.sound):  # imports what is imported late, too
        (folder / kind.name).write_bytes(content)
        try:
            kind.read(folder / kind.name)
        except DseError as error:
            raise AssertionError(f"sound content {number} of {kind}: {error}") from error
    outcome = Outcome()
    problems: dict[str, str] = {}  # by where it happened
    failed_count = 0
    for number in range(count):
        content = kind.content(number, seed)
        problem = _try(kind, folder / kind.name, content, outcome)
        if problem is None:
            continue
        failed_count += 1
        where, text = problem
        if where not in problems:
            kept = folder / f"{number}-{kind.name}"
            kept.write_bytes(content)
            problems[where] = f"{kind} {number} (seed {seed}), kept as {kept}\n" + (
                f"{content[:600]!r}{'…' if len(content) > 600 else ''}\n{text}"
            )
    if problems:
        shown = "\n\n".join(list(problems.values())[:_SHOWN_COUNT])
        raise AssertionError(
            f"{kind}: {failed_count} of {count} inputs failed in {len(problems)} places; the "
            f"first of each:\n\n{shown}"
        )
    return outcome


def read_again(kind: Kind, folder: Path, number: int, seed: int = 0) -> object:
    """Read one input again, with whatever it raises."""
    (folder / kind.name).write_bytes(kind.content(number, seed))
    return kind.read(folder / kind.name)


def _try(kind: Kind, path: Path, content: bytes, outcome: Outcome) -> tuple[str, str] | None:
    """Read one input; where and how it failed, or None."""
    path.write_bytes(content)
    problem = None
    before_bytes, started_s = _reset_peak(), time.process_time()
    try:
        with _bounded():
            kind.read(path)
        outcome.read_count += 1
    except DseError as error:
        outcome.refused_count += 1
        if not str(error).strip():
            problem = f"{type(error).__name__} without a message", ""
    except (Exception, HangError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/dse/" in frame.filename] or frames
        where = f"{type(error).__name__} {own[-1].filename}:{own[-1].lineno}"
        problem = where, "".join(traceback.format_exception(error, limit=-8))[-3000:]
    took_s, took_bytes = time.process_time() - started_s, _peak_bytes() - before_bytes
    if problem is None and took_s > kind.most_s:  # once may be an import
        started_s = time.process_time()
        with contextlib.suppress(DseError):
            kind.read(path)
        took_s = min(took_s, time.process_time() - started_s)
    outcome.slowest_s = max(outcome.slowest_s, took_s)
    outcome.most_bytes = max(outcome.most_bytes, took_bytes)
    if problem is None and took_s > kind.most_s:
        problem = "slow", f"took {took_s:.2f} s"
    if problem is None and took_bytes > MOST_BYTES:
        problem = "large", f"took {took_bytes / 1e6:,.0f} MB"
    return problem


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """End what computes for too long, and leave it no more than `_ROOM_BYTES`."""

    def hangs(number: int, frame: FrameType | None) -> None:
        raise HangError(f"more than {_HANGS_S:g} s")

    before = signal.signal(signal.SIGPROF, hangs)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if used := _kilobytes("VmSize"):
        resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + _ROOM_BYTES, limits[1]))
    # Again every second: a callback of the interpreter may swallow the first.
    signal.setitimer(signal.ITIMER_PROF, _HANGS_S, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGPROF, before)


def _reset_peak() -> int:
    """Bytes in use; from now on the peak is that of what follows (on Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _kilobytes("VmRSS") * 1024


def _peak_bytes() -> int:
    return _kilobytes("VmHWM") * 1024


def _kilobytes(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # another system: time alone is bounded
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
