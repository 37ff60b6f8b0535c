"""Memory that Polars has freed is the machine's again, and a setting of the user's own stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import time, eagbench, polars
frame = polars.DataFrame({str(i): polars.arange(i, 500_000 + i, eager=True) for i in range(40)})
size = frame.estimated_size()
del frame
time.sleep(1.5)  # what is freed stays for half a second, to be used again
polars.DataFrame({"any": [1]})
with open("/proc/self/smaps_rollup") as stream:
    kilobytes = next(int(line.split()[1]) for line in stream if line.startswith("LazyFree:"))
print(size, 1024 * kilobytes)
"""


def freed_and_kept(**environment: str) -> tuple[int, int]:
    """Return how many bytes a process freed, and how many of them still count as its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    freed, kept = done.stdout.split()
    return int(freed), int(kept)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what a process has freed")
def test_what_polars_frees_is_given_back() -> None:
    freed, kept = freed_and_kept()
    assert freed > 150_000_000
    assert kept < 0.1 * freed
    freed, kept = freed_and_kept(_RJEM_MALLOC_CONF="muzzy_decay_ms:-1")
    assert kept > 0.9 * freed
