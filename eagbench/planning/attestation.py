"""The rule that credentialed data, and what comes from them, stay on this machine."""

from __future__ import annotations

from eagbench.config.loading import LoadedBenchmark
from eagbench.errors import UserError


def refuse_unattested(loaded: LoadedBenchmark, what: str, *path: str | int) -> None:
    """Keeps what comes from credentialed data on this machine, unless the benchmark says by what right it may leave.

    Args:
        loaded: The benchmark.
        what: Who sends what.
        path: Where that component stands in the benchmark.

    Raises:
        UserError: The benchmark carries no attestation.
    """
    if loaded.benchmark.attestation is None:
        raise UserError(
            f"{what} to another machine, and the data are credentialed",
            where=loaded.place(*path),
            hint="take one that keeps to this machine; if the data's owners permit it, say so under `attestation:`",
        )
