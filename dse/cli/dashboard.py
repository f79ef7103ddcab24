"""`dse dashboard`: optuna-dashboard on a study's record."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from dse.cli.options import ResultsDirectory, StudyName
from dse.errors import DseError, StudyError

EXAMPLES = """
\b
Examples:
  dse dashboard squeezenet-digits
  dse dashboard squeezenet-digits --port 8081
"""

HOST = "127.0.0.1"


def command(
    study_name: StudyName,
    results: ResultsDirectory = Path("results"),
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", min=1, max=65535, help="Port to serve on.", show_default=True
        ),
    ] = 8080,
) -> None:
    """Open optuna-dashboard on a study's record, in a browser.

    Serves on 127.0.0.1, to this machine alone, until Ctrl-C. Needs the extra `dashboard`.
    """
    database = _database(results, study_name)
    if find_spec("optuna_dashboard") is None:
        raise DseError(
            "optuna-dashboard is not installed; install it beside dse: "
            "pip install 'dse[dashboard]', or from a checkout pip install '.[dashboard]'"
        )
    from optuna_dashboard import run_server

    typer.echo(f"http://{HOST}:{port}  {database} (Ctrl-C ends it)")
    with contextlib.suppress(KeyboardInterrupt):
        try:
            run_server(f"sqlite:///{database.resolve()}", host=HOST, port=port)
        except OSError as error:
            raise DseError(
                f"port {port} of {HOST} cannot be served on: {error.strerror}; "
                f"choose another: --port {port + 1 if port < 65535 else port - 1}"
            ) from error


def _database(results: Path, name: str) -> Path:
    """The study's `study.db`.

    Raises:
        StudyError: there is no such study, or only what somebody published of it.
    """
    from dse.report.tables.studies import study_directory

    for directory in (results / name, Path(name)):
        if name.strip() and (directory / "study.db").is_file():
            return directory / "study.db"
    directory = study_directory(results, name)
    raise StudyError(
        f"{directory} holds no study.db, which the dashboard reads: published results are tables "
        f"alone; `dse plot {name}` draws them, and the command in {directory / 'study.yaml'} "
        "makes the record again"
    )
