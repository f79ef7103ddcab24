"""Artifacts: the files that jobs read and write, by key, wherever a worker runs.

    data/<fingerprint>             prepared images, a folder
    weights/<training>/<name>      of a candidate that was trained to full fidelity
    checkpoints/<training>/<name>  of a run that may be resumed

A key says what the artifact follows from, so that the same key is the same content on every
machine. An executor provides the store; where the workers run beside the driver it is a table
of folders, and nothing is copied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ArtifactStore(Protocol):
    """Where artifacts are read from and written to."""

    def fetch(self, key: str) -> Path | None:
        """The artifact as a file or folder of this machine; None where there is none."""

    def writing(self, key: str) -> contextlib.AbstractContextManager[Path]:
        """A path to write the artifact to; it is stored at the end, unless an error is raised."""

    def drop(self, key: str) -> None:
        """Remove the artifact, if it is there."""


@dataclass(frozen=True)
class FolderStore:
    """Artifacts in folders of this machine.

    Attributes:
        folders: for the beginning of a key (`data/<fingerprint>`, `weights/<training>`) the
            file or folder that holds it.
    """

    folders: Mapping[str, Path]

    def path(self, key: str) -> Path:
        """Where an artifact is or will be.

        Raises:
            KeyError: no folder is for such keys.
        """
        if key in self.folders:
            return self.folders[key]
        beginning, _, name = key.rpartition("/")
        return self.folders[beginning] / name

    def fetch(self, key: str) -> Path | None:
        """Where it is; None where there is none."""
        path = self.path(key)
        return path if path.exists() else None

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Its own path: who writes it renames a whole file into place."""
        yield self.path(key)

    def drop(self, key: str) -> None:
        """Remove it; one that cannot be removed is left."""
        with contextlib.suppress(OSError):
            self.path(key).unlink(missing_ok=True)
