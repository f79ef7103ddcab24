"""Training by a formula: which images a candidate has right after so many epochs.

A candidate's ceiling rises with its squeeze ratio (but every third ratio in sixteenths is bad
for its size), and its accuracy rises with the epochs: `ceiling * (1 - 2**-epochs / 2)`. Of n
images round(accuracy * n) are right, which ones turns with the replicate. A latency is a
millisecond times the squeeze ratio. Knobs are environment variables, so that they reach worker
processes:

DSE_FAKE_CEILINGS: JSON, ceiling by squeeze ratio ("network" for one without), in place of the
formula's. DSE_FAKE_FAILS: JSON, by squeeze ratio (or `RATIO-REPLICATE`) the epochs at
which training fails.
DSE_FAKE_IMAGES: validation and test images, as `200,100`.
DSE_FAKE_LOG: a file that gets a line of JSON for each job.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

IMAGES = (200, 200)


def name_of(job: dict[str, Any]) -> str:
    """The squeeze ratio as text, or `network` where there is none."""
    return str(job["metaparameters"].get("squeeze_ratio", "network"))


def accuracy(name: str, epochs: int) -> float:
    ceilings = json.loads(os.environ.get("DSE_FAKE_CEILINGS", "{}"))
    ceiling = ceilings.get(name)
    if ceiling is None:
        ceiling = 0.8 if name == "network" else _ceiling(float(name))
    return float(ceiling) * (1 - 2.0**-epochs / 2)


def _ceiling(ratio: float) -> float:
    return 0.5 + 0.4 * ratio - (0.2 if 16 * ratio % 3 == 0 else 0.0)


def right(count: int, share: float, replicate: int) -> list[bool]:
    """Which of `count` images are right."""
    wanted = round(share * count)
    return [(i * 7919 + 13 * replicate) % count < wanted for i in range(count)]


def packed(bits: list[bool]) -> str:
    """The bits as `pack_bits` writes them."""
    filled = [*bits, *[False] * (-len(bits) % 8)]
    numbers = [
        sum(bit << (7 - place) for place, bit in enumerate(filled[start : start + 8]))
        for start in range(0, len(filled), 8)
    ]
    return base64.b64encode(bytes(numbers)).decode()


def answer(setup: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """The measurement that a job ends with."""
    if log := os.environ.get("DSE_FAKE_LOG"):
        with Path(log).open("a") as file:
            file.write(json.dumps(job) + "\n")
    validation_count, test_count = images()
    full, name, replicate = setup["recipe"]["epochs"], name_of(job), job["replicate"]
    epochs = job["fidelity"]["epochs"] if job["fidelity"] else full
    knob = json.loads(os.environ.get("DSE_FAKE_FAILS", "{}"))
    fails = knob.get(name, knob.get(f"{name}-{replicate}"))
    if fails is not None and epochs >= fails and job["task"] == "train":
        return {"status": "failed", "reason": "the loss became nan at step 7", "epochs": fails - 1}
    test = right(test_count, accuracy(name, full), replicate)
    of_test = {"test_accuracy": sum(test) / test_count, "test_correct": packed(test)}
    if job["task"] == "test":
        return {"status": "finished", **of_test}
    validation = right(validation_count, accuracy(name, epochs), replicate)
    if folds := job.get("folds"):  # scored on training images, of which no bits are kept
        share = accuracy(name, epochs)
        return {
            "status": "finished",
            "validation_accuracy": share,
            "epochs": epochs,
            "train_s": 1.6 * folds * epochs,
            "compile_s": 1.0,
        }
    return {
        "status": "finished",
        "validation_accuracy": sum(validation) / validation_count,
        "validation_correct": packed(validation),
        "train_loss": 1 - accuracy(name, epochs),
        "epochs": epochs,
        "train_s": 2.0 * epochs,
        "compile_s": 1.0,
        "images_per_s": 100.0,
        **({"latency_s": 0.001 * float(name)} if job.get("measure_latency") else {}),
        **(of_test if setup["scores_test"] else {}),
    }


def images() -> tuple[int, int]:
    """(validation, test)."""
    text = os.environ.get("DSE_FAKE_IMAGES", "")
    validation, test = map(int, text.split(",")) if text else IMAGES
    return validation, test
