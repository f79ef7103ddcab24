"""Stand-ins at the seams of the tool."""

from __future__ import annotations

import sys
from pathlib import Path

WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))
"""The command of a worker process that trains nothing; see `worker.py`."""
