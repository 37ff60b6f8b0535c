"""How the figures of a section divide its methods."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from eagbench.report.sections.severities import CURVES_PER_FIGURE, _parts


@pytest.mark.parametrize("n", [0, 1, 8, 9, 15, 16, 24])
@pytest.mark.parametrize("tested", [None, "m0", "m5"])
def test_curves_are_shared_out_evenly_with_the_tested_method_in_every_figure(n: int, tested: str | None) -> None:
    spec = None if tested is None else {"method": tested, "metric": "auroc"}
    run: Any = SimpleNamespace(manifest={"comparisons": spec})
    methods = [f"m{i}" for i in range(n)]
    parts = _parts(methods, run)
    assert sorted({method for part in parts for method in part}) == sorted(methods)
    assert all(len(part) == len(set(part)) <= CURVES_PER_FIGURE for part in parts)
    assert max((len(part) for part in parts), default=0) - min((len(part) for part in parts), default=0) <= len(parts)
    if len(parts) > 1 and tested in methods:
        assert all(part[-1] == tested for part in parts)
    assert sum(len(part) for part in parts) == n + (len(parts) - 1 if tested in methods and len(parts) > 1 else 0)
