"""A worker that trains nothing: it answers as its environment says, at once.

DSE_FAKE_DEATHS: a folder; a job dies once for each file `<squeeze_ratio>-<replicate>-*` in it
(and takes the file with it). DSE_FAKE_LAST: `<squeeze_ratio>-<replicate>`; die behind the answer
to that job. DSE_FAKE_SILENT: die before being ready.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    if os.environ.get("DSE_FAKE_SILENT"):
        sys.stderr.write("no such device\n")
        sys.exit(3)
    json.loads(sys.stdin.readline())
    say({"type": "ready"})
    for line in sys.stdin:
        job = json.loads(line)
        ratio, replicate = job["metaparameters"]["squeeze_ratio"], job["replicate"]
        if deaths := os.environ.get("DSE_FAKE_DEATHS"):
            for path in sorted(Path(deaths).glob(f"{ratio}-{replicate}-*"))[:1]:
                path.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        say({"type": "epoch", "epochs": 1, "loss": 0.5})
        if os.environ.get("DSE_FAKE_FATAL"):
            say({"type": "fatal", "message": "the disk is full"})
            return
        say({"type": "ended", "measurement": measurement(ratio, replicate)})
        if os.environ.get("DSE_FAKE_LAST") == f"{ratio}-{replicate}":
            os.kill(os.getpid(), signal.SIGKILL)


def measurement(ratio: float, replicate: int) -> dict[str, object]:
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
