"""URLs of databases, without a server."""

from __future__ import annotations

import importlib

import pytest

from dse.errors import StudyError, UsageError
from dse.study.shared import parse_url, shown


def test_without_a_driver_it_is_psycopg():
    pytest.importorskip("psycopg", reason="the driver is missing: pip install 'dse[postgresql]'")
    url = parse_url("postgresql://me:p%40ss@host:5433/db")
    assert url == "postgresql+psycopg://me:p%40ss@host:5433/db"
    assert shown(url) == "postgresql+psycopg://me:***@host:5433/db"


@pytest.mark.parametrize("text", ["no url: secret", "postgresql:/", "a"])
def test_what_is_no_url_is_refused_without_its_password(text):
    with pytest.raises(UsageError, match="--storage is no database URL") as raised:
        parse_url(text)
    assert "secret" not in str(raised.value)


def test_other_databases_lack_the_lock():
    with pytest.raises(UsageError, match=r"sqlite database, but must be PostgreSQL.*no option"):
        parse_url("sqlite:///study.db")
    with pytest.raises(UsageError, match="nonsense database, but must be PostgreSQL") as raised:
        parse_url("nonsense://me:secret@host/db")
    assert "secret" not in str(raised.value)


def test_missing_driver_is_named_with_its_extra(monkeypatch):
    found = importlib.import_module

    def without(name, *rest):
        if name.startswith(("psycopg", "pg8000")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, *rest)

    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(StudyError, match=r"psycopg is not installed; .*dse\[postgresql\]"):
        parse_url("postgresql://me:secret@host/db")
