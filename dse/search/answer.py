"""The answer of a search as one document, `answer.json`, and how it is come by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.comparison import Comparison, Correctness, compare
from dse.files import replacing
from dse.search.finals import Decision, choose_finalists, steering_noise
from dse.search.known import Known
from dse.search.reference import Reference
from dse.search.study import storage_errors
from dse.search.trials import REUSED, SearchTrial
from dse.training import unpack_bits

if TYPE_CHECKING:
    from dse.search.search import Search

SCHEMA = 1
ANSWER_NAME = "answer.json"
TWO_SIDED = 0.975
"""Confidence of each end of a 95% interval."""

__all__ = ["ANSWER_NAME", "answer_document", "choose_finalists", "steering_noise", "write_answer"]
