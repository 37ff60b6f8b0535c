"""Where a study is stored: a journal file (safe on NFS), or any database that Optuna can open."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from eagbench.errors import UserError

# A process waits this long for SQLite's one lock, in seconds; Optuna's own five are short for several processes.
_SQLITE_TIMEOUT = 60
_TRIES, _PAUSE = 5, 0.2  # to make the tables while others do
_MASKED = "***"  # a password in the record of a sweep
JOURNAL = "study.journal"  # the storage of a sweep that names no other
_FINGERPRINT = "fingerprint"


def open_storage(storage: str, folder: Path) -> BaseStorage:
    """Open a storage, creating it if needed.

    Args:
        storage: A URL (`sqlite:///...`, `postgresql://...`), or a journal file, relative to `folder`.
        folder: The sweep's folder.

    Raises:
        UserError: The URL is invalid, its driver is not installed, or the database does not answer.
    """
    if "://" not in storage:
        path = folder / storage
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its lock is a symbolic link, which NFS makes atomically.
        return JournalStorage(JournalFileBackend(str(path)))
    import sqlalchemy.exc

    where = shown(storage)
    try:
        # With Optuna's cache around it here: each study would put one of its own around it, which knows no trial.
        return get_storage(_opened(storage))
    except ImportError as error:
        raise UserError(
            "the driver of this database is not installed",
            where=where,
            hint=f'{error.name or error}: for PostgreSQL `pip install "eagbench[postgresql]"`',
        ) from error
    except (sqlalchemy.exc.NoSuchModuleError, sqlalchemy.exc.ArgumentError) as error:
        raise UserError(
            f"Optuna can't open this storage: {error}",
            where=where,
            hint="give a journal file, sqlite:///study.db or postgresql://user@host/database",
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        raise UserError(f"the database can't be opened: {error.orig}", where=where) from error


def _opened(storage: str) -> RDBStorage:
    """Open a database, making Optuna's tables if need be; of processes that make them together, one does."""
    import sqlalchemy.exc

    url = _complete(storage)
    options = {"connect_args": {"timeout": _SQLITE_TIMEOUT}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    for _ in range(_TRIES):
        # Another process makes a table between this one's look and its own try.
        with contextlib.suppress(sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.IntegrityError):
            return RDBStorage(url, engine_kwargs=options)
        time.sleep(_PAUSE)
    return RDBStorage(url, engine_kwargs=options)


def _complete(storage: str) -> str:
    """Return an address with its driver, and without a password that was masked: the environment may know it."""
    from sqlalchemy.engine import URL, make_url

    url = make_url(storage)
    password = None if url.password == _MASKED else url.password
    driver = "postgresql+psycopg" if url.drivername == "postgresql" else url.drivername
    whole = URL.create(driver, url.username, password, url.host, url.port, url.database, url.query)
    return whole.render_as_string(hide_password=False)


def shown(storage: str) -> str:
    """Return a storage in a form that may be shown and written, without a password."""
    if "://" not in storage:
        return storage
    import sqlalchemy.exc
    from sqlalchemy.engine import make_url

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return storage.partition("://")[0] + "://..."


def resolved(storage: str | None) -> str:
    """Resolve `--storage` independently of the working directory.

    Returns:
        The sweep's own journal, an absolute path, or a URL.
    """
    if storage is None:
        return JOURNAL
    return storage if "://" in storage else str(Path(storage).absolute())


def open_study(
    storage: BaseStorage, name: str, directions: Sequence[Literal["minimize", "maximize"]], fingerprint: str, where: str
) -> optuna.Study:
    """Open the study of a sweep, creating it if needed.

    Raises:
        UserError: A study of this name belongs to another sweep.
    """
    study = optuna.create_study(study_name=name, storage=storage, directions=list(directions), load_if_exists=True)
    held = study.user_attrs.get(_FINGERPRINT)
    if held is None:
        study.set_user_attr(_FINGERPRINT, fingerprint)
    elif held != fingerprint:
        raise UserError(
            f"the study '{name}' belongs to another sweep: its benchmark, space, objectives or data differ",
            where=where,
            hint="give the sweep another `name`, or another --out or --storage",
        )
    return study
