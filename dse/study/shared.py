"""Studies whose record is in a database server: where that is, and how messages name it."""

from __future__ import annotations

from dataclasses import dataclass

from dse.errors import StudyError, UsageError


@dataclass(frozen=True)
class SharedStudy:
    """A study of a database server; as text it is named without the password.

    Attributes:
        url: of the database, as `parse_url` gives it.
        name: of the study.
    """

    url: str
    name: str

    def __str__(self) -> str:
        return f"study {self.name} in {shown(self.url)}"

    def failed(self, cause: BaseException) -> StudyError:
        """What to say where the server does not do what it is asked for."""
        return StudyError(
            f"{self} cannot be read or written: {str(cause).strip().splitlines()[0]}; what was "
            "recorded is kept: once this is fixed (a server that runs, its address, user, password "
            "and rights), the same command resumes"
        )


def parse_url(text: str) -> str:
    """The URL of a database, with the driver that is meant where it names none.

    Raises:
        UsageError: it is no URL, or one of a database without the locks that a study needs.
        StudyError: its driver is not installed.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    example = "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    try:
        url = make_url(text)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        dialect = url.get_backend_name()
        if dialect != "postgresql":
            known = "it is what a study uses without --storage" if dialect == "sqlite" else ""
            raise UsageError(
                f"--storage names a {dialect} database, but must be PostgreSQL, such as {example}"
                + (f"; SQLite needs no option: {known}" if known else "")
            )
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The text may hold a password.
        raise UsageError(f"--storage is no database URL such as {example}") from error
    except ImportError as error:
        raise StudyError(
            f"--storage {shown(text)}: the driver {error.name} is not installed; install it beside "
            "dse: pip install 'dse[postgresql]', or from a checkout pip install '.[postgresql]'"
        ) from error
    return url.render_as_string(hide_password=False)


def shown(url: str) -> str:
    """The URL without its password."""
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)
