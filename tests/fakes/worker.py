"""A worker that trains nothing: it answers as its environment says, at once.

DSE_FAKE_DEATHS: a folder; a job dies once for each file `<squeeze_ratio>-<replicate>-*` in it
(and takes the file with it), or stops, as by SIGSTOP, where the name ends with `-stop`.
DSE_FAKE_LAST: `<squeeze_ratio>-<replicate>`; die behind the answer to that job. DSE_FAKE_SILENT:
die before being ready. DSE_FAKE_WAIT_S: how long every job takes.

Jobs of a search, of a reference and, where DSE_FAKE_CLOSED_FORM is set, of any sweep are
answered by `closed_form.py`, whose knobs stand there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fakes.closed_form import answer, name_of


def main() -> None:
    if os.environ.get("DSE_FAKE_SILENT"):
        sys.stderr.write("no such device\n")
        sys.exit(3)
    setup = json.loads(sys.stdin.readline())["setup"]
    say({"type": "ready"})
    for line in sys.stdin:
        job = json.loads(line)
        name, replicate = name_of(job), job["replicate"]
        if deaths := os.environ.get("DSE_FAKE_DEATHS"):
            for path in sorted(Path(deaths).glob(f"{name}-{replicate}-*"))[:1]:
                path.unlink()
                is_stop = path.name.endswith("-stop")
                os.kill(os.getpid(), signal.SIGSTOP if is_stop else signal.SIGKILL)
        if job["task"] == "train":
            say({"type": "epoch", "epochs": 1, "loss": 0.5})
        if os.environ.get("DSE_FAKE_FATAL"):
            say({"type": "fatal", "message": "the disk is full"})
            return
        time.sleep(float(os.environ.get("DSE_FAKE_WAIT_S", "0")))
        say({"type": "ended", "measurement": measurement(setup, job)})
        if os.environ.get("DSE_FAKE_LAST") == f"{name}-{replicate}":
            os.kill(os.getpid(), signal.SIGKILL)


def measurement(setup: dict[str, object], job: dict[str, object]) -> dict[str, object]:
    is_closed = os.environ.get("DSE_FAKE_CLOSED_FORM") or not setup["scores_test"]
    if is_closed or name_of(job) == "network":
        return answer(setup, job)
    ratio, replicate = float(name_of(job)), job["replicate"]
    if ratio == 1.0:
        return {"status": "failed", "reason": "the loss became nan at step 7"}
    return {
        "status": "finished",
        "validation_accuracy": 0.5 + ratio / 4 + replicate / 100,
        "test_accuracy": 0.4 + ratio / 4,
        "train_loss": 0.5,
        "epochs": 1,
        "train_s": 2.0,
        "compile_s": 1.0,
        "images_per_s": 100.0,
    }


def say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
