"""The rule that credentialed data, and everything derived from them, stay on this machine."""

from __future__ import annotations

from eagbench.config.loading import LoadedBenchmark
from eagbench.errors import UserError


def refuse_unattested(loaded: LoadedBenchmark, what: str, *path: str | int) -> None:
    """Refuse to send what derives from credentialed data off this machine unless the benchmark attests the right to.

    Args:
        loaded: The benchmark.
        what: The sender and what it sends, as the message begins.
        path: The component's key path in the benchmark.

    Raises:
        UserError: The benchmark carries no attestation.
    """
    if loaded.benchmark.attestation is None:
        raise UserError(
            f"{what} to another machine, and the data are credentialed",
            where=loaded.place(*path),
            hint="take one that keeps to this machine; if the data's owners permit it, say so under `attestation:`",
        )
