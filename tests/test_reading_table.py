"""The table of a claim: which rows are tests, and what Holm and the signs of the seeds make of them."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from tests.conftest import ROOT

SEEDS = ("0", "1", "2")


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reading_table", ROOT / "scripts" / "reading_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["reading_table"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(method: str, metric: str, values: tuple[float, ...], half: float, condition: str = "clean") -> list[dict]:
    mean = sum(values) / len(values)
    shared = {"method": method, "metric": metric, "condition": condition, "calibration": "none", "subgroup": "all"}
    counts = {"n_cases": 799, "n_positive": 111}
    rows = [(seed, value) for seed, value in zip(SEEDS, values, strict=True)] + [("mean", mean)]
    return [
        {**shared, **counts, "seed": seed, "value": value, "ci_low": value - half, "ci_high": value + half}
        for seed, value in rows
    ]


def difference(baseline: str, metric: str, value: float, half: float, p: float) -> dict:
    return {
        "method": "eag_rl",
        "baseline": baseline,
        "metric": metric,
        "condition": "clean",
        "calibration": "none",
        "difference": value,
        "ci_low": value - half,
        "ci_high": value + half,
        "standard_error": half / 2,
        "p_value": p,
    }


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    table = loaded()
    results = [
        *numbers("eag_rl", "auroc", (0.84, 0.83, 0.82), 0.04),
        *numbers("stage_one", "auroc", (0.83, 0.835, 0.81), 0.04),
        *numbers("answer_only", "auroc", (0.80, 0.80, 0.80), 0.04),
        *numbers("eag_rl", "brier_skill", (0.2, 0.2, 0.2), 0.05),
        *numbers("eag_rl", "calibration_slope", (1.0, 1.1, 1.2), 0.2),
        *numbers("eag_rl", table.OVERLAP, (0.05, 0.05, 0.05), 0.01),
        *numbers("stage_one", table.OVERLAP, (0.04, 0.04, 0.04), 0.01),
        *numbers("eag_rl", table.BEYOND_CONTROL, (0.01, 0.01, 0.01), 0.02),
        *numbers("lightgbm", table.BEYOND_CONTROL, (0.02, 0.02, 0.02), 0.01),
        *numbers("eag_rl", table.BEYOND_BASELINE, (-0.02, -0.02, -0.02), 0.0001),
    ]
    for method in ("answer_only", "stage_one", "eag_rl"):
        results += numbers(method, "auroc", (0.7, 0.7, 0.7), 0.05, "feature_synonyms")
        results += numbers(method, "auroc", (0.8, 0.8, 0.8), 0.05, "feature_abbreviations")
    compared = [
        difference("stage_one", table.OVERLAP, 0.01, 0.004, 0.001),
        difference("stage_one", "auroc", 0.005, 0.004, 0.0001),
        difference("answer_only", "auroc", 0.03, 0.03, 0.03),
    ]
    run = SimpleNamespace(results=pd.DataFrame(results), comparisons=pd.DataFrame(compared))
    monkeypatch.setattr(table.eagbench, "open_run", lambda folder: run)
    monkeypatch.setattr("sys.argv", ["reading_table.py", "run", "--names"])
    table.main()
    return capsys.readouterr().out


def row(output: str, start: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_six_tests_are_corrected_together_by_holm(output: str) -> None:
    assert "799 held-out cases, 111 events" in output
    # 0.03 is the fifth smallest of six, behind 0.0001 and 0.001: twice as large.
    assert row(output, "EAG-RL minus answers alone")[4:] == ["0.060", "not shown"]
    assert row(output, "Stage II minus Stage I, that overlap")[4:] == ["0.003", "shown"]
    assert row(output, "comprehensiveness beyond the frequency")[4:] == ["< 0.001", "shown against it"]
    assert row(output, "EAG-RL, auroc")[4:] == ["", ""]


def test_a_difference_whose_seeds_disagree_is_not_shown(output: str) -> None:
    cells = row(output, "Stage II minus Stage I, AUROC")
    assert cells[2] == "+0.010 -0.005 +0.010"
    assert cells[4:] == ["< 0.001", "not shown"]


def test_a_metric_against_zero_goes_by_its_interval(output: str) -> None:
    # 0.01 with a standard error of 0.02 / 1.96: z 0.98, p 0.327; the largest of six, so it stays.
    assert row(output, "comprehensiveness beyond the matched") == [
        "comprehensiveness beyond the matched control",
        "0.010 (-0.010 to 0.030)",
        "+0.010 +0.010 +0.010",
        "0.029",
        "0.327",
        "not shown",
    ]


def test_the_loss_by_names_is_that_of_the_means(output: str) -> None:
    assert row(output, "answer_only")[1:] == ["0.100", "0.000"]
    assert row(output, "eag_rl")[1:] == ["0.130", "0.030"]


def test_an_undefined_test_stays_in_its_family_with_a_p_of_one() -> None:
    table = loaded()
    results = pd.DataFrame(numbers("eag_rl", "auroc", (0.8, 0.8, 0.8), float("nan")))
    compared = pd.DataFrame([difference("stage_one", "auroc", 0.0, 0.0, float("nan"))])
    stages = pd.concat([results, results.assign(method="stage_one")])
    run = table.Run.__new__(table.Run)
    run._results, run._differences = stages, compared
    assert run.difference("stage_one", "auroc", "same").p_value == 1.0
    assert run.beyond_zero("eag_rl", "auroc", "no interval").p_value == 1.0


def test_a_run_of_one_seed_has_no_signs_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    table = loaded()
    one = [item for item in numbers("eag_rl", "auroc", (0.8, 0.8, 0.8), 0.1) if item["seed"] == "0"]
    run = SimpleNamespace(results=pd.DataFrame(one), comparisons=pd.DataFrame([difference("a", "auroc", 0, 0, 1)]))
    monkeypatch.setattr(table.eagbench, "open_run", lambda folder: run)
    monkeypatch.setattr("sys.argv", ["reading_table.py", "run"])
    with pytest.raises(SystemExit, match="3 seeds"):
        table.main()
