"""The command `dse`: registers the commands and turns errors into messages and exit statuses.

Exit status: 0, or 1 for an error that the user can fix, 2 for a command line that cannot be
understood, 130 for Ctrl-C, 141 where the reader of a pipe went away (as a shell reports it).

Every module named in `COMMANDS` has a `command`, whose docstring is its help, and `EXAMPLES`.
They import what is heavy inside the command, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Annotated, Any, TextIO, cast

import typer
from typer.core import TyperGroup

from dse import __version__
from dse.cli import (
    cache,
    check,
    compress,
    dashboard,
    decompress,
    describe,
    doctor,
    evaluate,
    export,
    front,
    import_,
    pack,
    plot,
    predict,
    report,
    run,
    schema,
    search,
    shrink,
    spaces,
    studies,
    sweep,
    train,
    watch,
)
from dse.cli.tables import bold
from dse.errors import ConfigError, DseError, UsageError, problem_lines
from dse.text import message

COMMANDS = {
    "train": train,
    "sweep": sweep,
    "search": search,
    "run": run,
    "shrink": shrink,
    "spaces": spaces,
    "check": check,
    "describe": describe,
    "studies": studies,
    "front": front,
    "plot": plot,
    "report": report,
    "watch": watch,
    "dashboard": dashboard,
    "pack": pack,
    "import": import_,
    "compress": compress,
    "decompress": decompress,
    "export": export,
    "evaluate": evaluate,
    "predict": predict,
    "schema": schema,
    "cache": cache,
    "doctor": doctor,
}
"""Name to module, in the order of `dse --help`."""

INTERRUPTED_STATUS = 130
BROKEN_PIPE_STATUS = 141


class Commands(TyperGroup):
    """The group of all commands: `--debug` anywhere, and every error as a message."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept `--debug` behind the command's name too."""
        own = args[: args.index("--")] if "--" in args else args
        if "--debug" in own:
            args = ["--debug", *(arg for arg in own if arg != "--debug"), *args[len(own) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print what a user can fix and leave with its exit status."""
        try:
            return super().invoke(ctx)
        except DseError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            found = error.problems if isinstance(error, ConfigError) else (str(error),)
            for problem in problem_lines(found):
                typer.echo(f"{bold('error:', sys.stderr)} {message(problem)}", err=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error
        except KeyboardInterrupt as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED_STATUS) from interrupt
        except OSError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise typer.Exit(_end_of_stdout(error)) from error
        except MemoryError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            typer.echo(
                f"{bold('error:', sys.stderr)} there is too little memory (ulimit -v, or the limit "
                "of a container?); what was recorded is kept, and the same command tries again",
                err=True,
            )
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    name="dse",
    help="Find the smallest convolutional network that reaches a given accuracy.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dse {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="DSE_DEBUG", help="Show the trace of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


for _name, _module in COMMANDS.items():
    # In the list of commands stands the whole first line, which typer would cut.
    _first_line = (_module.command.__doc__ or "").partition("\n")[0]
    app.command(
        _name,
        short_help=_first_line,
        epilog=_module.EXAMPLES,
        context_settings=getattr(_module, "CONTEXT", None),
    )(_module.command)


class _BestEffort:
    """Standard error as it is, but for this: nothing ends because it cannot be told.

    Where writing fails (its reader went away, the disk is full) what follows is told to nobody.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._attempt():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._attempt():
            self._stream.flush()

    @contextlib.contextmanager
    def _attempt(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            _silence(self._stream)


def _prepare_streams() -> None:
    """Have somewhere to print where a stream is closed, and `?` for what it cannot show."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # It stays open to the end of the process.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.stderr = cast(TextIO, _BestEffort(sys.stderr))


def main() -> None:
    """Entry point of the console script.

    Raises:
        SystemExit: always, with the exit status.
    """
    _prepare_streams()
    try:
        try:
            app(prog_name="dse")
        except SystemExit as end:
            if end.code == INTERRUPTED_STATUS:
                # At once: XLA may still be compiling in threads of its own, and they would crash
                # while the interpreter tears down what they use.
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(OSError):
                        stream.flush()
                os._exit(INTERRUPTED_STATUS)
            raise
        finally:
            sys.stdout.flush()
    except OSError as error:
        sys.exit(_end_of_stdout(error))


def _end_of_stdout(error: OSError) -> int:
    """The exit status where standard output cannot be written, said unless its reader went away.

    Files that cannot be read or written are a `DseError` by now, nearly all of them.
    """
    _silence(sys.stdout)
    if isinstance(error, BrokenPipeError):  # `dse spaces | head`
        return BROKEN_PIPE_STATUS
    if error.filename:
        text = f"{error.filename} cannot be read or written: {error.strerror}"
    elif isinstance(error, FileNotFoundError):  # it has no name any more
        text = "the working folder was removed; change to another one"
    else:
        text = f"the output cannot be written: {error.strerror or error}"
    typer.echo(f"{bold('error:', sys.stderr)} {message(text)}", err=True)
    return 1


def _silence(stream: TextIO) -> None:
    """Nobody reads on, but the interpreter flushes once more at its end and would complain."""
    with contextlib.suppress(OSError):  # a stream without a file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
