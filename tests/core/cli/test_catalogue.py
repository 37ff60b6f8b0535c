"""What is installed, in words and as a schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from eagbench.vocabulary.vocabulary import vocabulary
from tests.conftest import ROOT, Finished

Cli = Callable[..., Finished]


def test_plugins_list_by_kind(cli: Cli) -> None:
    listed = cli("plugins", "list", "--kind", "expert")
    assert listed.code == 0
    assert {"concare", "lightgbm", "logistic_regression"} <= {line.split()[0] for line in listed.out.splitlines()}
    assert "tjh" not in listed.out
    refused = cli("plugins", "list", "--kind", "experts")
    assert refused.code == 2
    assert "choices: dataset, expert" in refused.err


def test_data_list_and_describe(cli: Cli) -> None:
    assert {"mimic4", "tjh", "physionet2012"} <= {line.split()[0] for line in cli("data", "list").out.splitlines()}
    described = cli("data", "describe", "mimic4")
    assert described.code == 0
    for word in ("root", "window_hours", "readmission_30_days"):
        assert word in described.out
    nested = cli("data", "describe", "long_csv").out
    [variables] = [line.strip() for line in nested.splitlines() if line.startswith("  variables ")]
    assert variables.split(maxsplit=1)[1] == "dict[str, Variable], default {}"
    assert "Annotated" not in nested
    assert "Pydantic" not in nested


def test_data_check_says_what_was_read(cli: Cli, physionet_root: Path) -> None:
    checked = cli("data", "check", "physionet2012", "--set", f"root={physionet_root}")
    assert checked.code == 0
    assert "patients read 400" in checked.out
    [heart_rate] = [line for line in checked.out.splitlines() if line.startswith("heart_rate ")]
    assert "beats/min" in heart_rate
    refused = cli("data", "check", "physionet2012", "--set", f"rot={physionet_root}")
    assert refused.code == 2
    assert "did you mean 'root'" in refused.err


def test_data_concepts_lists_the_vocabulary(cli: Cli) -> None:
    listed = cli("data", "concepts")
    assert listed.code == 0
    head, *lines = listed.out.splitlines()
    assert [line.split()[0] for line in lines] == list(vocabulary().names)
    [creatinine] = [line for line in lines if line.startswith("creatinine ")]
    places = [head.index(word) for word in ("concept", "unit", "reference", "plausible", "other", "names")]
    cells = [creatinine[a:b].strip() for a, b in zip(places, [*places[1:], None], strict=True)]
    known = vocabulary().concept("creatinine")
    assert cells[:2] == ["creatinine", "mg/dL"]
    assert cells[2] == f"{known.reference[0]:g} to {known.reference[1]:g}"
    assert cells[3] == f"{known.plausible[0]:g} to {known.plausible[1]:g}"
    assert "umol/L" in cells[4]
    assert cells[5].startswith("Creatinine")


def test_data_concepts_can_be_searched(cli: Cli) -> None:
    def found(*arguments: str) -> set[str]:
        return {line.split()[0] for line in cli("data", "concepts", *arguments).out.splitlines()[1:]}

    assert found("SpO2") == {"oxygen_saturation"}  # a synonym
    assert found("2160-0") == {"creatinine"}  # a LOINC code
    assert found("heart rate") == {"heart_rate"}
    assert found("--source", "tjh") == {item.concept for item in vocabulary().source("tjh")}
    for arguments, message in ((("zebra",), "no concept has 'zebra'"), (("--source", "mimic"), "choices: eicu")):
        refused = cli("data", "concepts", *arguments)
        assert refused.code == 2
        assert message in refused.err


def test_the_schema_knows_every_key_of_our_benchmarks(cli: Cli) -> None:
    schema = json.loads(cli("schema").out)
    assert "num_leaves" in schema["$components"]["expert"]["lightgbm"]["properties"]
    for path in (ROOT / "benchmarks").glob("*.yaml"):
        keys = set(yaml.safe_load(path.read_text())) - {"extends"}
        assert keys <= set(schema["properties"]), path.name


def test_doctor_names_what_a_bug_report_needs(
    cli: Cli, store_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAGBENCH_TJH_ROOT", str(tmp_path))
    monkeypatch.setenv("EAGBENCH_EICU_ROOT", str(tmp_path / "gone"))
    monkeypatch.setenv("EAGBENCH_MIMIC4_ROOT", "synthetic")
    examined = cli("doctor")
    roots = [line.split(maxsplit=1) for line in examined.out.splitlines() if line.startswith("EAGBENCH_")]
    assert ["EAGBENCH_TJH_ROOT", str(tmp_path)] in roots
    assert ["EAGBENCH_EICU_ROOT", f"{tmp_path / 'gone'} (nothing to read there)"] in roots
    assert ["EAGBENCH_MIMIC4_ROOT", "synthetic"] in roots
    assert examined.code == 0, examined.out
    for word in ("python", "torch", "store", "memory", "ready"):
        assert word in examined.out
