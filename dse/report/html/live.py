"""What stands above a study's page while it is trained: how far it is, what the workers do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from dse.report.html.markup import Html, Part, join, table, tag
from dse.study.events import LogEvent
from dse.text import counted, duration, percent, values_text

_STAGES = {
    "search": "searching",
    "finals": "finals: more seeds for the candidates around the reference",
    "test": "the answer's test images, once",
}
_SHOWN_COUNT = 6
FINISHED, INTERRUPTED = "finished", "interrupted"


@dataclass
class Now:
    """What the events of a study's log add up to.

    Attributes:
        run: the latest; None before the first.
        over: how it ended; empty while it is not over.
        stage, status: of the whole, in words.
        working: by worker, what it was last told to do.
        ended: the latest measurements, the last one first.
        time_s: of the last event.
    """

    run: LogEvent | None = None
    over: str = ""
    stage: str = ""
    status: str = ""
    working: dict[int, LogEvent] = field(default_factory=dict)
    ended: deque[LogEvent] = field(default_factory=lambda: deque(maxlen=_SHOWN_COUNT))
    time_s: float = 0.0

    def follow(self, events: Iterable[LogEvent]) -> None:
        """Take note of events, in their order."""
        for event in events:
            self.time_s = event.time_s
            self.status = event.status or self.status
            if event.kind == "run":
                self.run, self.over, self.stage, self.status = event, "", "", ""
                self.working.clear()
            elif event.kind == "over":
                self.over = event.text or INTERRUPTED
                self.working.clear()
            elif event.kind == "stage":
                self.stage = _STAGES.get(event.text, event.text)
            elif event.kind in ("started", "epoch") and event.worker is not None:
                self.working[event.worker] = event
            else:
                self.working.pop(-1 if event.worker is None else event.worker, None)
                if event.kind == "ended":
                    self.ended.appendleft(event)

    @property
    def is_finished(self) -> bool:
        """Whether the study has come to its end: whatever else ended its run, it resumes."""
        return self.over == FINISHED

    @property
    def is_running(self) -> bool:
        """Whether something trains it, as far as this machine can tell."""
        return self.run is not None and not self.over and self.run.is_alive


def live_strip(now: Now, *, moment_s: float) -> Html:
    """How far a study is.

    Args:
        now: what its log says.
        moment_s: Unix time at which it is shown.
    """
    ago = duration(moment_s - now.time_s)
    if now.is_running:
        state, words = "running", now.stage
    elif now.is_finished:
        state, words = "finished", "nothing here changes any more"
    else:
        why = now.over or ("its process is gone" if now.run else "nothing trains it yet")
        state, words = "stopped", f"{why}; the same command resumes, and this page follows"
    workers: list[list[Part]] = [
        [
            values_text(event.values) or event.candidate,
            _progress(event),
            None if event.loss is None else f"{event.loss:.3f}",
        ]
        for _, event in sorted(now.working.items())
    ]
    ended: list[list[Part]] = [
        [
            values_text(event.values) or event.candidate,
            None if event.params_count is None else f"{event.params_count:,}",
            percent(event.accuracy if event.accuracy is not None else event.test_accuracy),
            event.text or counted(event.epochs, "epoch"),
            f"{duration(moment_s - event.time_s)} ago",
        ]
        for event in now.ended
    ]
    titles = ["last measured", "parameters", "accuracy", "after", "when"]
    return join(
        [
            tag("p", tag("b", state, class_=f"chip {state}"), " ", words, class_="lead"),
            tag("p", f"{now.status or 'no candidate has begun'}; last event {ago} ago"),
            table(["training now", "epoch", "loss"], workers) if workers and not now.over else None,
            table(titles, ended) if ended else None,
        ]
    )


def _progress(event: LogEvent) -> Html:
    if not event.epochs:
        return join(["starting"])
    share = {"value": event.epochs, "max": max(event.full_epochs, event.epochs)}
    return join([tag("progress", **share), f" {event.epochs} of {share['max']}"])
