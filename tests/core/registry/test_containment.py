"""What a component does to the whole process is put back, or found out."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eagbench.contracts.rules import ContractError
from eagbench.registry.containment import contained, separate_streams


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda: os.chdir("/"), Path.cwd),
        (lambda: np.seterr(all="raise"), np.geterr),
        (lambda: random.seed(3), random.getstate),
        (lambda: np.random.seed(3), lambda: np.random.get_state()[1].tolist()),  # noqa: NPY002
        (lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGTERM)),
        (lambda: sys.setrecursionlimit(400), sys.getrecursionlimit),
        (lambda: warnings.simplefilter("error"), lambda: [entry for entry in warnings.filters if entry[0] == "error"]),
    ],
)
def test_a_change_is_put_back(change: Callable[[], object], state: Callable[[], object]) -> None:
    before, inside = state(), []

    def fail() -> None:
        change()
        inside.append(state())
        raise RuntimeError

    with pytest.raises(RuntimeError), contained():
        fail()
    assert inside != [before]
    assert state() == before


def test_other_warnings_filters_stay() -> None:
    with warnings.catch_warnings():
        with contained():
            warnings.filterwarnings("ignore", message="said by a library when it is imported")
        assert any(entry[0] == "ignore" and "when it is imported" in str(entry[1]) for entry in warnings.filters)


def test_a_replaced_function_of_numpy_is_put_back_and_named() -> None:
    before = np.mean
    with pytest.raises(ContractError, match=r"numpy\.mean: it was replaced"), contained():
        np.mean = np.median
    assert np.mean is before


STREAMS = """\
import os, sys
from eagbench.registry.containment import separate_streams
with separate_streams():
    print("printed")
    sys.stdout.close(); sys.stderr.close()
    os.close(1); os.close(2)
print("result")
print("told", file=sys.stderr)
"""


def test_streams_stay_open_and_prints_go_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", STREAMS], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr == "printed\ntold\n"


def test_a_stream_without_a_number_can_be_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with separate_streams():
        print("printed")
    assert capsys.readouterr() == ("", "printed\n")
