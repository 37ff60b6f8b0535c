"""One's own CSV: PhysioNet 2012 written as such files gives the records of its own loader; and what bad files give."""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from eagbench.contracts.components import Dataset
from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.testing import DatasetConformance
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.long_csv.blocks import blocks
from eagbench_plugins.datasets.long_csv.dataset import LongCsv
from eagbench_plugins.datasets.long_csv.params import LongCsvParams
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012, PhysioNet2012Params
from tests.conftest import ROOT, Finished

TASK = {"task": "in_hospital_mortality", "outcome": "die before leaving the hospital"}
UNITS = {1: "CCU", 2: "CSRU", 3: "MICU", 4: "SICU"}


def load(root: Path, **params: Any) -> Cohort:
    dataset = LongCsv(LongCsvParams(root=root, **{**TASK, **params}))
    with tempfile.TemporaryDirectory() as folder:
        return dataset.load(StageRun(params={}, inputs={}, seed=0, out=Path(folder))).collect()


# --- PhysioNet 2012 as one's own files -------------------------------------------------------------------------------


def variables() -> dict[str, Any]:
    """The parameters of PhysioNet 2012 as a user would write them, in the loader's order."""
    return {
        str(item.keys["parameter"]): {
            "concept": item.concept,
            "unit": item.unit,
            **({} if item.mixed is None else {"mixed": item.mixed.model_dump()}),
        }
        for item in vocabulary().source("physionet2012")
    }


@pytest.fixture(scope="module")
def own(physionet_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 400 records as two gzipped files: measurements in minutes since admission, and outcomes."""
    root = tmp_path_factory.mktemp("own")
    deaths = {}
    for line in (physionet_root / "Outcomes-a.txt").read_text().splitlines()[1:]:
        record, *_, died = line.split(",")
        deaths[record] = died
    events, outcomes = ["patient_id,stay_id,time,variable,value"], ["stay_id,outcome,age,sex,height,icu_type"]
    with tarfile.open(physionet_root / "set-a.tar.gz") as archive:
        for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
            content = archive.extractfile(member)
            assert content is not None
            record, seen, facts = Path(member.name).stem, set[str](), {}
            for line in content.read().decode().splitlines()[1:]:
                time, parameter, value = line.split(",")
                minutes = 60 * int(time[:2]) + int(time[3:])
                described = ("RecordID", "Age", "Gender", "Height", "ICUType", "Weight")
                if minutes == 0 and parameter in described and parameter not in seen:
                    facts[parameter] = "" if float(value) == -1 else value
                elif parameter and float(value) != -1:
                    events.append(f"p{record},{record},{minutes},{parameter},{value}")
                seen.add(parameter)
            unit = UNITS[int(facts["ICUType"])]
            outcomes.append(f"{record},{deaths[record]},{facts['Age']},{facts['Gender']},{facts['Height']},{unit}")
    for name, lines in (("events", events), ("outcomes", outcomes)):
        (root / f"{name}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return root


@pytest.fixture(scope="module")
def own_params(own: Path) -> dict[str, Any]:
    return {
        "root": str(own),
        "events": "events.csv.gz",
        "outcomes": "outcomes.csv.gz",
        "time": "minutes",
        "variables": variables(),
        "static": {"age": "age", "sex": "sex", "height": "height"},
        "groups": {"icu_type": list(UNITS.values())},
        "access": "open",
        "citation": "Silva and others, Computing in Cardiology 39 (2012), 245-248; ODC-BY 1.0.",
        **TASK,
    }


def test_physionet_2012_is_the_same_as_by_its_own_loader(
    own: Path, own_params: dict[str, Any], physionet_root: Path, tmp_path: Path
) -> None:
    mine = load(own, **{key: value for key, value in own_params.items() if key != "root"})
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path)
    theirs = PhysioNet2012(PhysioNet2012Params(root=physionet_root)).load(run)
    assert mine.cases.features == theirs.cases.features
    assert mine.cases.task == theirs.cases.task
    assert mine.cases.case_ids == theirs.cases.case_ids
    assert mine.cases.patient_ids == tuple(f"p{case}" for case in theirs.cases.case_ids)
    np.testing.assert_array_equal(mine.labels, theirs.labels)
    assert mine.groups == {"icu_type": theirs.groups["icu_type"]}  # its sets are none of a CSV's
    compared = 0
    for one, other in zip(mine.cases, theirs.cases, strict=True):
        before = other.times < 48  # their window has its end, ours has not
        np.testing.assert_array_equal(one.times, other.times[before])
        np.testing.assert_array_equal(one.values, other.values[before])
        facts = [[case.static[name] for name in ("age", "sex", "height")] for case in (one, other)]
        np.testing.assert_equal(facts[0], facts[1])
        compared += int((~np.isnan(one.values)).sum())
    assert compared > 100_000
    weights = theirs.provenance.implausible.get("admission_weight", 0)
    assert sum(mine.provenance.implausible.values()) == sum(theirs.provenance.implausible.values()) - weights
    assert not mine.provenance.patient_is_stay


class TestConformance(DatasetConformance):
    component = LongCsv

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, own_params: dict[str, Any]) -> Mapping[str, Any]:
        return own_params


def test_a_run_from_yaml(own_params: dict[str, Any], tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    benchmark = {
        "name": "own",
        "data": {"name": "long_csv", **own_params},
        "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2},
        "reference_expert": "lightgbm",
        "methods": ["lightgbm"],
        "conditions": ["clean"],
        "seeds": [0],
        "metrics": ["auroc", "brier"],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(benchmark, sort_keys=False))
    env = {"EAGBENCH_STORE": str(tmp_path / "store")}
    done = run_command("run", "own.yaml", "--out", "run", env=env, cwd=tmp_path)
    assert done.code == 0, done.err
    rows = pl.read_csv(tmp_path / "run" / "results.csv", infer_schema=False)
    [auroc] = rows.filter((pl.col("metric") == "auroc") & (pl.col("seed") == "0"))["value"]
    assert 0.6 < float(auroc) < 1
    verified = run_command("verify", "run", env=env, cwd=tmp_path)
    assert verified.code == 0, verified.out


# --- Small hand-made files -------------------------------------------------------------------------------------------

EVENTS = """patient_id,stay_id,time,variable,value,unit
a,1,1,HR,80,
a,1,2.5,creatinine,88.4,umol/L
a,1,2.5,HR,NA,
a,1,-1,HR,60,
a,1,48,HR,61,
b,2,0,supar,3000,pg/mL
b,2,0,HR,500,bpm
b,2,3,HR,90,bpm
b,2,3,shoe size,44,
c,3,1,HR,70,
"""
OUTCOMES = """stay_id,outcome,age,sex,ward
1,0,54,M,north
2,1,,female,south
"""
SUPAR = {"unit": "ng/mL", "plausible": [0, 50], "reference": [None, 3], "conversions": {"pg/mL": 0.001}}
PARAMS: dict[str, Any] = {
    "variables": {"HR": {"concept": "heart_rate", "unit": "beats/min"}},
    "new_concepts": {"supar": SUPAR},
}


def small(root: Path, events: str = EVENTS, outcomes: str = OUTCOMES) -> Path:
    (root / "events.csv").write_text(events)
    (root / "outcomes.csv").write_text(outcomes)
    return root


def series(cohort: Cohort, case: int, name: str) -> dict[float, float]:
    item = cohort.cases[case]
    pairs = zip(item.times.tolist(), item.values_in_order([name])[:, 0].tolist(), strict=True)
    return {time: value for time, value in pairs if not np.isnan(value)}


def test_units_windows_new_concepts_and_what_is_counted(tmp_path: Path) -> None:
    cohort = load(small(tmp_path), **PARAMS, groups={"ward": ["north", "south"]})
    assert isinstance(LongCsv(LongCsvParams(root=tmp_path, **TASK)), Dataset)
    assert cohort.cases.feature_names == ("heart_rate", "creatinine", "supar")
    assert cohort.cases.patient_ids == ("a", "b")
    assert cohort.provenance.n_patients_read == 3
    assert series(cohort, 0, "heart_rate") == {1.0: 80.0}
    assert series(cohort, 0, "creatinine") == pytest.approx({2.5: 1.0}, rel=1e-4)
    assert series(cohort, 1, "supar") == {0.0: 3.0}
    assert series(cohort, 1, "heart_rate") == {3.0: 90.0}
    assert cohort.provenance.implausible == {"heart_rate": 1}
    assert cohort.provenance.exclusions == (
        ("no row in the file of outcomes", 1),
        ("unknown outcome", 0),
        ("no measurement in the observation window", 0),
    )
    np.testing.assert_equal(
        [dict(case.static) for case in cohort.cases], [{"age": 54, "sex": 1}, {"age": np.nan, "sex": 0}]
    )
    assert cohort.groups == {"ward": ("north", "south")}
    assert cohort.provenance.access == "credentialed"
    assert "3 of 4 variables are read." in cohort.provenance.notes
    assert "Not read: shoe size (1 rows)." in cohort.provenance.notes
    [supar] = [feature for feature in cohort.cases.features if feature.name == "supar"]
    assert (supar.label, supar.unit, supar.plausible, supar.reference) == ("Supar", "ng/mL", (0, 50), (None, 3))


@pytest.mark.parametrize(("unit", "per_hour"), [("hours", 1), ("minutes", 60), ("days", 1 / 24)])
def test_units_of_time(tmp_path: Path, unit: str, per_hour: float) -> None:
    events = f"stay_id,time,variable,value\n1,{6 * per_hour!r},HR,80\n1,{48 * per_hour!r},HR,81\n"
    cohort = load(small(tmp_path, events), **PARAMS, time=unit)
    assert series(cohort, 0, "heart_rate") == {6.0: 80.0}
    assert cohort.provenance.patient_is_stay
    assert cohort.provenance.n_patients_read == 2
    assert cohort.cases.patient_ids == ("1",)


def test_timestamps_count_from_the_admission_of_each_stay(tmp_path: Path) -> None:
    events = (
        "stay_id,time,variable,value\n1,2150-01-02 00:30:00,HR,80\n2,2150-01-02 00:30:00,HR,81\n"
        "2,2149-12-31 00:00:00,HR,82\n"
    )
    outcomes = (
        "stay_id,outcome,age,sex,admission_time,end_time\n1,0,54,M,2150-01-01 23:00:00,\n"
        "2,1,60,F,2150-01-02 00:00:00,2150-01-04 00:00:01\n3,1,60,F,2150-01-02 00:00:00,2150-01-04 00:00:00\n"
    )
    cohort = load(small(tmp_path, events, outcomes), **PARAMS, time="timestamps")
    assert [case.times.tolist() for case in cohort.cases] == [[1.5], [0.5]]
    assert ("stay ended at or before the prediction time", 1) in cohort.provenance.exclusions
    assert not any("can't be left out" in note for note in cohort.provenance.notes)
    for change, message in (
        (("2150-01-01 23:00:00", "soon"), r"outcomes.csv, line 2: column 'admission_time' must hold .* not 'soon'"),
        (("2150-01-01 23:00:00", ""), r"outcomes.csv, line 2: column 'admission_time' must hold .* not nothing"),
    ):
        with pytest.raises(UserError, match=message):
            load(small(tmp_path, events, outcomes.replace(*change)), **PARAMS, time="timestamps")
    with pytest.raises(UserError, match=r"events.csv, line 2: column 'time' must hold .*%H:%M:%S, not '2150-01-02'"):
        load(
            small(tmp_path, events.replace("2150-01-02 00:30:00,HR,80", "2150-01-02,HR,80"), outcomes),
            **PARAMS,
            time="timestamps",
        )


def test_precedence_text_values_mixed_units_and_several_files(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("value;variable;stay;when\n120;ART;1;1\nslow;CRT;1;2\n0,4;x;1;2\n")
    (tmp_path / "events.csv").write_text(
        "stay;when;variable;value\n1;1;CUFF;99\n\n1;2;CUFF;98\n1;2;CUFF;97\n1;3;FiO2;0.4\n1;4;FiO2;40\n"
    )
    (tmp_path / "outcomes.csv").write_text("stay;died\n1;true\n")
    cohort = load(
        tmp_path,
        events=["events.csv", "more.csv"],
        separator=";",
        columns={"stay_id": "stay", "time": "when", "outcome": "died"},
        variables={
            "ART": {"concept": "systolic_blood_pressure", "unit": "mmHg"},
            "CUFF": {"concept": "systolic_blood_pressure", "unit": "mmHg"},
            "CRT": {"concept": "capillary_refill", "values": {"fast": 0, "slow": 1}},
            "FiO2": {
                "concept": "fraction_inspired_oxygen",
                "unit": "%",
                "mixed": {"unit": "fraction", "low": 0.2, "high": 1},
            },
        },
        static={},
    )
    assert series(cohort, 0, "systolic_blood_pressure") == {1.0: 120.0, 2.0: 97.0}
    assert series(cohort, 0, "capillary_refill") == {2.0: 1.0}
    assert series(cohort, 0, "fraction_inspired_oxygen") == pytest.approx({3.0: 40.0, 4.0: 40.0})
    assert cohort.cases.static_names == ()
    assert cohort.labels.tolist() == [1]


def test_chosen_concepts_make_the_record(tmp_path: Path) -> None:
    cohort = load(small(tmp_path), **PARAMS, concepts=["supar", "heart_rate"])
    assert cohort.cases.feature_names == ("supar", "heart_rate")
    assert series(cohort, 1, "supar") == {0.0: 3.0}


def test_an_unknown_outcome_and_a_stay_that_ended_are_counted(tmp_path: Path) -> None:
    outcomes = "stay_id,outcome,age,sex,end_time\n1,NA,54,M,99\n2,1,60,F,48\n3,0,60,F,48.5\n"
    cohort = load(small(tmp_path, outcomes=outcomes), **PARAMS)
    assert cohort.cases.case_ids == ("3",)
    assert cohort.provenance.exclusions[1:3] == (
        ("unknown outcome", 1),
        ("stay ended at or before the prediction time", 1),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("a,1,1,HR,80,", "a,1,1,HR,fast,"), r"events.csv, line 2: column 'value' must hold a number, not 'fast'"),
        (("a,1,1,HR,80,", "a,1,1,HR,inf,"), r"events.csv, line 2: column 'value' must hold a number, not 'inf'"),
        (("b,2,3,HR,90", "b,2,soon,HR,90"), r"line 9: column 'time' must hold hours since admission, not 'soon'"),
        (("b,2,3,HR,90", "b,2,,HR,90"), r"line 9: column 'time' must hold hours since admission, not ''"),
        (("b,2,3,HR,90", "b,,3,HR,90"), "line 9: column 'stay_id' is empty"),
        (("b,2,3,HR,90", "b,NA,3,HR,90"), "line 9: column 'stay_id' is empty"),
        (("b,2,3,HR,90", "a,2,3,HR,90"), "stay 2 belongs to several patients: a, b"),
        (("umol/L", "furlong"), "events.csv, variable 'creatinine': creatinine is given in 'furlong'"),
        (("umol/L", ""), "events.csv, variable 'creatinine': creatinine is given without a unit; expected mg/dL"),
        (("variable,value", "variable,val"), "events.csv: column 'value' is missing"),
        (("patient_id,stay_id", "stay_id,stay_id"), "events.csv: two columns are called 'stay_id'"),
        (("a,1,1,HR,80,", "a,1,1,HR,80,,,"), "events.csv: can't be read as CSV"),
        ((EVENTS, ""), "events.csv: can't be read as CSV"),
        ((EVENTS, "stay_id,time,variable,value\n1,1,Puls,80\n"), "no variable holds a known concept; .* are Puls"),
        (("1,0,54,M", "1,2,54,M"), "outcomes.csv, line 2: column 'outcome' must hold 0 or 1, not '2'"),
        (("2,1,,female", "1,1,,female"), "line 3: stay_id 1 has two rows, with 'outcome' 0 in line 2 and 1 here"),
        (("54", "-0.008"), "line 2: column 'age' holds an age of -0.008 years"),
        (("54", "old"), "line 2: column 'age' must hold a number, not 'old'"),
        (("female", "x"), "line 3: column 'sex' must hold one of .*, not 'x'"),
        (("sex,ward", "gender,ward"), "outcomes.csv: column 'sex' is missing"),
        (("south", "west"), "line 3: column 'ward' must hold one of data.groups.ward .* not 'west'"),
        (("south", ""), "line 3: column 'ward' is empty"),
        ((OUTCOMES, "stay_id,outcome,age,sex,ward\n"), "there is no row"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in EVENTS + OUTCOMES
    root = small(tmp_path, EVENTS.replace(*change), OUTCOMES.replace(*change))
    with pytest.raises(UserError, match=message) as raised:
        load(root, **PARAMS, groups={"ward": ["north", "south"]})
    assert len(raised.value.message.splitlines()) == 2


def test_values_in_another_unit_than_said_stop(tmp_path: Path) -> None:
    events = "stay_id,time,variable,value,unit\n" + "".join(f"1,{i},creatinine,{80 + i},mg/dL\n" for i in range(9))
    with pytest.raises(UserError, match=r"(?s)variable 'creatinine': .*Expected unit: mg/dL; found: umol/L"):
        load(small(tmp_path, events))


def test_a_rare_stray_unit_is_removed_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"1,{i / 100},HR,80,bpm\n" for i in range(1500))
    cohort = load(small(tmp_path, f"stay_id,time,variable,value,unit\n{rows}1,20.5,HR,80,furlong\n"), **PARAMS)
    assert len(cohort.cases[0].times) == 1500
    assert "Values removed because their unit is unknown and rare: 1 of heart_rate." in cohort.provenance.notes


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"variables": {"HR": {"concept": "puls"}}}, "variables: the vocabulary has no puls; `eagbench data concepts`"),
        ({"variables": {"HR": {"concept": "heart_rate", "unit": "mmHg"}}}, "no conversion from 'mmHg' is known"),
        ({"concepts": ["x"]}, "concepts: the vocabulary has no x"),
        ({"concepts": ["glucose", "glucose"]}, "named twice"),
        ({"new_concepts": {"glucose": SUPAR}}, "two concepts share a name"),
        ({"new_concepts": {"s": {**SUPAR, "plausible": [5, 1]}}}, "is empty"),
        ({"new_concepts": {"s": {**SUPAR, "synonyms": ["Heart rate"]}}}, "names both"),
        ({"new_concepts": {"s": {"unit": "ng/mL"}}}, "plausible"),
        ({"hospitals": []}, "generated records"),
        ({"time": "weeks"}, "hours"),
        ({"window": 3}, "Extra inputs"),
    ],
)
def test_parameters_are_strict(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LongCsvParams(**{"root": Path("x"), **TASK, **params})


def test_missing_files_and_wrong_keys_are_named(tmp_path: Path, cli: Callable[..., Finished]) -> None:
    sets = [f"root={tmp_path}", "task=t", "outcome=die", "variables={HR: {concept: heart_rate, units: bpm}}"]
    refused = cli("data", "check", "long_csv", *[part for each in sets for part in ("--set", each)])
    assert refused.code == 2
    assert "did you mean 'unit'" in refused.err
    refused = cli("data", "check", "long_csv", *[part for each in sets[:3] for part in ("--set", each)])
    assert refused.code == 2
    assert "there is no 'outcomes.csv'" in refused.err
    small(tmp_path)
    checked = cli(
        "data",
        "check",
        "long_csv",
        *[part for each in (*sets[:3], "variables={HR: {concept: heart_rate, unit: bpm}}") for part in ("--set", each)],
    )
    assert checked.code == 0, checked.err
    assert "credentialed" in checked.out


def test_the_template_reads_what_its_page_shows(
    tmp_path: Path, cli: Callable[..., Finished], store_folder: Path
) -> None:
    """The two files of docs/datasets/long_csv.md, by its own YAML and by configs/datasets/long_csv.yaml."""
    page = (ROOT / "docs" / "datasets" / "long_csv.md").read_text()
    block, example = re.findall(r"```(?:yaml)?\n(.*?)```", page, flags=re.S)
    columns = [re.split(r" {3,}", line.rstrip()) for line in block.splitlines()]
    small(
        tmp_path,
        "\n".join(row[0] for row in columns) + "\n",
        "\n".join(row[1] for row in columns if len(row) > 1) + "\n",
    )
    template = yaml.safe_load((ROOT / "configs" / "datasets" / "long_csv.yaml").read_text())["data"]
    template["variables"]["suPAR"] = {"concept": "supar"}
    found = []
    for data in (yaml.safe_load(example)["data"], template):
        assert data.pop("name") == "long_csv"
        found.append(load(tmp_path, **{key: value for key, value in data.items() if key != "root"}))
    for cohort in found:
        assert cohort.cases.case_ids == ("s1", "s2")
        assert cohort.cases.feature_names == ("heart_rate", "creatinine", "supar")
        assert cohort.labels.tolist() == [0, 1]
        assert cohort.groups == {"ward": ("north", "south")}
    (tmp_path / "b.yaml").write_text(
        f"extends: [{ROOT / 'configs' / 'datasets' / 'long_csv.yaml'}]\nname: own\nmethods: [lightgbm]\nseeds: [0]\n"
        "reference_expert: lightgbm\nconditions: [clean]\nmetrics: [auroc]\n"
        "split: {train: 0.6, tuning: 0.2, held_out: 0.2}\n"
    )
    planned = cli("plan", tmp_path / "b.yaml", "--set", f"data.root={tmp_path}")
    assert planned.code == 0, planned.err


def test_patients_of_either_file(tmp_path: Path) -> None:
    events = "stay_id,time,variable,value\n1,1,HR,80\n2,1,HR,81\n"
    outcomes = "patient_id,stay_id,outcome\np,1,0\np,2,1\n"
    cohort = load(small(tmp_path, events, outcomes), **PARAMS, static={})
    assert cohort.cases.patient_ids == ("p", "p")
    assert cohort.provenance.n_patients_read == 1
    assert not cohort.provenance.patient_is_stay
    events = "patient_id,stay_id,time,variable,value\nq,1,1,HR,80\np,2,1,HR,81\n"
    with pytest.raises(UserError, match="stay 1 belongs to several patients: p, q"):
        load(small(tmp_path, events, outcomes), **PARAMS, static={})
    with pytest.raises(UserError, match=r"outcomes.csv, line 3: column 'patient_id' is empty"):
        load(small(tmp_path, events, outcomes.replace("p,2", ",2")), **PARAMS, static={})
    with pytest.raises(UserError, match="stay 2 has no patient"):
        load(small(tmp_path, events.replace("p,2", ",2"), "stay_id,outcome\n1,0\n2,1\n"), **PARAMS, static={})


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_bytes("\ufeffstay_id,time,variable,value\r\n1,1,HR,80\r\n".encode())
    (tmp_path / "outcomes.csv").write_bytes("\ufeffstay_id,outcome\r\n1,0\r\n".encode())
    assert series(load(tmp_path, **PARAMS, static={}), 0, "heart_rate") == {1.0: 80.0}


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_are_whole_rows_under_the_header(tmp_path: Path, size: int, packed: bool) -> None:
    rows = ["1,80", "", '2,"a', 'b, ""c"" "', "3,82", "4,", "5,83"]
    text = "\n".join(["id,value", *rows])
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    parts = [pl.read_csv(block, infer_schema=False) for block in blocks(path, size)]
    assert pl.concat(parts).rows() == pl.read_csv(text.encode(), infer_schema=False).rows()
    assert len(parts) > 2 or size > 7


def test_a_quote_that_nobody_closes_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,value\n" + '1,5" tube\n' + "2,80\n" * 500)
    assert b"".join(block[9:] for block in blocks(tmp_path / "t.csv", 64)).count(b"\n") == 501


def test_lines_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eagbench_plugins.datasets.long_csv.events.blocks", lambda path: blocks(path, 30))
    whole = load(small(tmp_path), **PARAMS)
    assert series(whole, 1, "heart_rate") == {3.0: 90.0}
    assert whole.provenance.n_patients_read == 3
    with pytest.raises(UserError, match=r"events.csv, line 9: column 'value' must hold a number, not 'fast'"):
        load(small(tmp_path, EVENTS.replace("b,2,3,HR,90", "b,2,3,HR,fast")), **PARAMS)
