"""What a Dask cluster needs before stages run on it: the same versions, and the same store."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import Client

from eagbench.errors import UserError
from eagbench.execution.executors.dask_stages import check_sees, token_file
from eagbench.registry.plugin_modules import GROUP

_BESIDE = ("distributed", "cloudpickle")  # what they talk to each other with


def check_versions(client: Client) -> None:
    """Check that the workers have this process's Python, eagbench and plugins.

    Stages check their code again, line by line (`same_code`); this names what a user can install.

    Raises:
        UserError: A worker has another version.
    """
    plugins = {entry.dist.name for entry in importlib.metadata.entry_points(group=GROUP) if entry.dist is not None}
    ask = _versions(sorted({"eagbench", *plugins, *_BESIDE}))
    here = ask()
    for worker, there in client.run(ask).items():
        for name, version in here.items():
            if there[name] != version:
                raise UserError(
                    f"a worker has {name} {there[name] or '(not installed)'}, this command {name} {version}",
                    where=str(worker),
                    hint="install the same versions everywhere, or start the workers with the Python of this command",
                )


def check_store(client: Client, folder: Path, run: str) -> None:
    """Check that the workers read what this process wrote in the store, and the reverse.

    Args:
        client: The connection to the cluster.
        folder: The store.
        run: Tells this run from others.

    Raises:
        UserError: They do not.
    """
    answers: Mapping[str, Any] = client.run(check_sees, folder, run, on_error="return")
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise answer
        if not token_file(folder, str(answer)).is_file():
            raise UserError(
                "a worker writes into another folder in the place of the store",
                where=f"{folder} on {worker}",
                hint="set EAGBENCH_STORE to a folder that all machines see at the same path and may write to",
            )


def _versions(names: Sequence[str]) -> Callable[[], dict[str, str | None]]:
    """Make a function that a worker without eagbench can run, too: it travels whole, as it is made in here."""

    def versions() -> dict[str, str | None]:
        import importlib.metadata
        import platform

        found: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
        for name in names:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = None
        return found

    return versions
