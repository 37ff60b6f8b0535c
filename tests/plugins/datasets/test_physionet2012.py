"""PhysioNet 2012 set A: the facts of the data's README, and what the loader says of bad files."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import read_cases, write_cohort
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012, PhysioNet2012Params

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "physionet2012"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the open data folder ../shared/data is absent")


def load(root: Path, tmp_path: Path, **params: Any) -> Cohort:
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path)
    return PhysioNet2012(PhysioNet2012Params(root=root, **params)).load(run)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load(DATA, tmp_path_factory.mktemp("physionet"))


@needs_data
def test_facts(cohort: Cohort) -> None:
    assert cohort.provenance.n_patients_read == 4000
    # 140501, 140936 and 141264 hold descriptors only.
    assert cohort.provenance.exclusions == (("no measurement in the window", 3),)
    assert not {"140501", "140936", "141264"} & set(cohort.cases.case_ids)
    assert len(cohort.cases) == 3997
    assert cohort.labels.sum() == 554
    assert cohort.provenance.patient_is_stay
    assert Counter(cohort.groups["icu_type"]) == {"CCU": 577, "CSRU": 874, "MICU": 1478, "SICU": 1068}


@needs_data
def test_the_records_are_those_of_the_files(cohort: Cohort) -> None:
    """An independent reading of a few records, line by line."""
    by_id = dict(zip(cohort.cases.case_ids, cohort.cases, strict=True))
    columns = {
        "HR": "heart_rate",
        "Mg": "magnesium",
        "K": "potassium",
        "pH": "ph",
        "GCS": "gcs_total",
        "Urine": "urine_output",
    }
    checked = 0
    with tarfile.open(DATA / "set-a.tar.gz") as tar:
        for member in list(tar)[1:3000:500]:
            content = tar.extractfile(member)
            assert content is not None
            lines = content.read().decode().splitlines()[1:]
            case = by_id[Path(member.name).stem]
            expected: dict[tuple[str, float], float] = {}
            for line in lines:
                time, parameter, value = line.split(",")
                hours = (60 * int(time[:2]) + int(time[3:])) / 60
                # Zeros are artefacts but for urine, and then the last value of a minute counts.
                if parameter in columns and (float(value) > 0 or (parameter, value) == ("Urine", "0")):
                    expected[columns[parameter], hours] = float(value)
            found = {
                (name, case.times[t]): case.values[t, case.features.index(name)]
                for name in columns.values()
                for t in range(len(case.times))
                if not np.isnan(case.values[t, case.features.index(name)])
            }
            assert found == pytest.approx(expected, rel=1e-6)
            checked += len(found)
    assert checked > 300


@needs_data
def test_artefacts_are_removed_and_counted(cohort: Cohort) -> None:
    removed = cohort.provenance.implausible
    for name in ("heart_rate", "temperature", "ph", "height", "systolic_blood_pressure", "weight"):
        assert removed[name] > 0
    low, high = np.array([feature.plausible for feature in cohort.cases.features]).T
    for case in cohort.cases:
        # float32 rounds a limit by less than one part in a million
        assert (np.isnan(case.values) | ((case.values >= low - 1e-6) & (case.values <= high * (1 + 1e-6)))).all()
        assert (np.diff(case.times) > 0).all()
        assert 0 <= case.times[0] <= case.times[-1] <= 48
    heights = np.array([case.static["height"] for case in cohort.cases])
    assert np.nanmin(heights) >= 100


@needs_data
def test_a_shorter_window_is_the_beginning_of_the_longer_one(cohort: Cohort, tmp_path: Path) -> None:
    day = load(DATA, tmp_path, window_hours=24)
    whole = dict(zip(cohort.cases.case_ids, cohort.cases, strict=True))
    assert day.provenance.exclusions[0][1] >= 3
    for case in list(day.cases)[::200]:
        first = whole[case.case_id].times <= 24
        np.testing.assert_array_equal(case.times, whole[case.case_id].times[first])
        np.testing.assert_array_equal(case.values, whole[case.case_id].values[first])


RECORD = """Time,Parameter,Value
00:00,RecordID,{record}
00:00,Age,54
00:00,Gender,{sex}
00:00,Height,{height}
00:00,ICUType,{unit}
00:00,Weight,80
"""


def record(number: int, rows: str, *, sex: int = 1, height: float = 170, unit: int = 1) -> str:
    return RECORD.format(record=number, sex=sex, height=height, unit=unit) + rows


def write(folder: Path, records: dict[str, str], outcomes: str | None = None) -> Path:
    with tarfile.open(folder / "set-a.tar.gz", "w:gz") as tar:
        for name, text in records.items():
            info = tarfile.TarInfo(f"set-a/{name}.txt")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    if outcomes is None:
        outcomes = "RecordID,In-hospital_death\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(records))
    (folder / "Outcomes-a.txt").write_text(outcomes)
    return folder


def test_times_duplicates_missing_values_and_statics(tmp_path: Path) -> None:
    rows = "00:00,Weight,81\n00:24,Urine,900\n00:24,Urine,420\n01:30,HR,80\n01:30,Temp,-1\n02:00,HR,0\n47:59,Na,140\n"
    write(tmp_path, {"1": record(1, rows), "2": record(2, "03:00,FiO2,0.5\n", sex=-1, height=18, unit=4)})
    cohort = load(tmp_path, tmp_path)
    first, second = cohort.cases
    assert first.times.tolist() == pytest.approx([0, 0.4, 1.5, 47 + 59 / 60])
    table = {
        name: first.values_in_order([name])[:, 0].tolist()
        for name in ("urine_output", "heart_rate", "weight", "sodium")
    }
    nan = np.nan
    np.testing.assert_equal(
        table,
        {
            "urine_output": [nan, 420, nan, nan],
            "heart_rate": [nan, nan, 80, nan],
            "weight": [81, nan, nan, nan],
            "sodium": [nan, nan, nan, 140],
        },
    )
    assert first.static == {"age": 54, "sex": 1, "height": 170, "admission_weight": 80, "icu_type": 1}
    assert np.isnan(second.static["sex"])
    assert np.isnan(second.static["height"])
    assert second.values_in_order(["fraction_inspired_oxygen"]).tolist() == [[50.0]]
    assert cohort.groups == {"icu_type": ("CCU", "SICU"), "set": ("a", "a")}
    assert cohort.labels.tolist() == [0, 1]
    assert cohort.provenance.implausible == {"heart_rate": 1, "height": 1}


def test_the_arterial_pressure_goes_before_the_cuff_unless_it_is_an_artefact(tmp_path: Path) -> None:
    rows = "01:00,SysABP,110\n01:00,NISysABP,130\n02:00,NISysABP,125\n03:00,SysABP,0\n03:00,NISysABP,90\n"
    (case,) = load(write(tmp_path, {"1": record(1, rows)}), tmp_path).cases
    assert case.values_in_order(["systolic_blood_pressure"])[:, 0].tolist() == [110, 125, 90]


def test_a_record_without_measurement_is_counted_out(tmp_path: Path) -> None:
    write(tmp_path, {"1": record(1, "01:00,HR,80\n"), "2": record(2, ""), "3": record(3, "30:00,HR,80\n")})
    assert load(tmp_path, tmp_path).provenance.exclusions == (("no measurement in the window", 1),)
    day = load(tmp_path, tmp_path, window_hours=24)
    assert day.provenance.exclusions == (("no measurement in the window", 2),)
    assert day.cases.case_ids == ("1",)


def test_impossible_units_stop(tmp_path: Path) -> None:
    rows = "".join(f"0{hour}:00,Temp,310.{hour}\n" for hour in range(1, 7))
    with pytest.raises(UserError, match=r"parameter Temp.*temperature.*degC"):
        load(write(tmp_path, {"1": record(1, rows)}), tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"1": record(1, "01:00,HR,80\n")}, outcomes="RecordID,Survival\n1,3\n")
    with pytest.raises(UserError, match=r"Outcomes-a.txt: column 'In-hospital_death' is missing"):
        load(tmp_path, tmp_path)
    write(tmp_path, {"1": record(1, "01:00,HR,80\n").replace("Time,Parameter,Value", "Time,Parameter")})
    with pytest.raises(UserError, match=r"set-a.tar.gz: column 'Value' is missing"):
        load(tmp_path, tmp_path)


def test_scores_of_the_outcomes_are_on_the_case_and_no_listed_fact(tmp_path: Path) -> None:
    outcomes = "RecordID,SAPS-I,SOFA,In-hospital_death\n1,6,1,0\n2,-1,8,1\n"
    write(tmp_path, {"1": record(1, "01:00,HR,80\n"), "2": record(2, "01:00,HR,90\n")}, outcomes=outcomes)
    cohort = load(tmp_path, tmp_path)
    scores = [[case.static[name] for name in ("score_saps_i", "score_sofa")] for case in cohort.cases]
    np.testing.assert_equal(scores, [[6, 1], [np.nan, 8]])
    assert not {"score_saps_i", "score_sofa"} & set(cohort.cases.static_names)
    write_cohort(cohort, tmp_path)
    stored = read_cases(tmp_path)
    np.testing.assert_equal([dict(case.static) for case in stored], [dict(case.static) for case in cohort.cases])
    assert stored.static_names == cohort.cases.static_names


@needs_data
def test_the_scores_rank_as_in_the_file(cohort: Cohort) -> None:
    """Computed from Outcomes-a.txt by hand: AUROC 0.638 (SAPS-I) and 0.626 (SOFA), -1 counted as the lowest."""
    for name, expected in (("score_saps_i", 0.638), ("score_sofa", 0.626)):
        score = np.nan_to_num([case.static[name] for case in cohort.cases], nan=-1.0)
        assert roc_auc_score(cohort.labels, score) == pytest.approx(expected, abs=0.002)


def test_a_record_without_outcome_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"1": record(1, ""), "2": record(2, "")}, outcomes="RecordID,In-hospital_death\n1,0\n")
    with pytest.raises(UserError, match="1 records have no outcome, the first is 2"):
        load(tmp_path, tmp_path)


def test_what_the_outcomes_say_is_unknown(tmp_path: Path) -> None:
    """`NA` among scores and columns that nobody reads is unknown; as an outcome it is refused with its line."""
    records = {"1": record(1, "01:00,HR,80\n"), "2": record(2, "01:00,HR,90\n")}
    head = "RecordID,SAPS-I,SOFA,Survival,In-hospital_death\n"
    cohort = load(write(tmp_path, records, outcomes=f"{head}1,NA,1,NA,0\n\n2,6, n/a,NA,1\n"), tmp_path)
    scores = [[case.static[name] for name in ("score_saps_i", "score_sofa")] for case in cohort.cases]
    np.testing.assert_equal(scores, [[np.nan, 1], [6, np.nan]])
    assert cohort.labels.tolist() == [0, 1]
    for row, message in (
        ("2,6,1,3,NA", r"1 records have no outcome, the first is 2 \(line 3 says that it is unknown\)"),
        ("2,6,1,3,dead", "line 3: column 'In-hospital_death' must hold 0 or 1, not 'dead'"),
        ("2,6,1,3,2", "line 3: column 'In-hospital_death' must hold 0 or 1, not '2'"),
        ("2,6,high,3,1", "line 3: column 'SOFA' must hold a number, not 'high'"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            load(write(tmp_path, records, outcomes=f"{head}1,5,1,9,0\n{row}\n"), tmp_path)
        assert raised.value.message.count("\n") == 1  # one line, and the hint


def test_a_second_outcome_is_refused_with_both_lines(tmp_path: Path) -> None:
    records = {"1": record(1, "01:00,HR,80\n")}
    write(tmp_path, records, outcomes="RecordID,In-hospital_death\n1,0\n7,1\n1,1\n")
    with pytest.raises(UserError, match="line 4: RecordID 1 has two rows, with 'In-hospital_death' 0 in line 2 and 1"):
        load(tmp_path, tmp_path)


def test_files_of_macos_in_the_archive_are_passed_over_and_said(tmp_path: Path) -> None:
    """As bsdtar packs on macOS: `._` files with binary attributes, and PAX headers of extended attributes."""
    write(tmp_path, {"1": record(1, "01:00,HR,80\n"), "2": record(2, "02:00,HR,90\n")})
    plain = load(tmp_path, tmp_path)
    attributes = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
    with tarfile.open(tmp_path / "set-a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (
            ("./._set-a", attributes),
            ("./set-a/._1.txt", attributes),
            ("./set-a/1.txt", record(1, "01:00,HR,80\n").encode()),
            ("__MACOSX/set-a/2.txt", attributes),
            ("./set-a/PaxHeader/2.txt", b"30 mtime=1717171717.123456789\n"),
            ("./set-a/2.txt", record(2, "02:00,HR,90\n").encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = {"LIBARCHIVE.xattr.com.apple.quarantine": "MDA4MTs=", "mtime": "1717171717.25"}
            tar.addfile(info, io.BytesIO(content))
    cohort = load(tmp_path, tmp_path)
    assert cohort.cases.case_ids == ("1", "2")
    np.testing.assert_array_equal(cohort.labels, plain.labels)
    assert cohort.provenance.notes == (
        *plain.provenance.notes,
        "3 hidden files of the archive were not read, the first is './set-a/._1.txt'.",
    )


def test_a_binary_file_is_named_without_control_characters(tmp_path: Path) -> None:
    write(tmp_path, {"1": record(1, "01:00,HR,80\n"), "2": "\x00\x05\x1b[31mMac OS X"})
    with pytest.raises(UserError, match=r"column 'Time' is missing in the header of 'set-a/2.txt'") as raised:
        load(tmp_path, tmp_path)
    assert r"\x00\x05\x1b[31mMac OS X" in raised.value.message
    assert all(line.isprintable() for line in raised.value.message.splitlines())


def test_nan_is_a_missing_value_and_no_artefact(tmp_path: Path) -> None:
    cohort = load(write(tmp_path, {"1": record(1, "01:00,HR,NaN\n02:00,HR,80\n")}), tmp_path)
    assert cohort.cases[0].times.tolist() == [2.0]
    assert cohort.provenance.implausible == {}


@pytest.mark.parametrize("row", ["01:00,HR,fast", "later,HR,80", "01:00,HR,80,90"])
def test_an_unreadable_row_is_reported(tmp_path: Path, row: str) -> None:
    with pytest.raises(UserError, match="a record can't be read"):
        load(write(tmp_path, {"1": record(1, row + "\n")}), tmp_path)


def test_a_record_without_its_number_is_reported(tmp_path: Path) -> None:
    text = "Time,Parameter,Value\n01:00,HR,80\n"
    with pytest.raises(UserError, match="RecordID"):
        load(write(tmp_path, {"1": record(1, "01:00,HR,70\n"), "2": text}), tmp_path)


@needs_data
def test_a_corrupt_archive_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "Outcomes-a.txt").write_bytes((DATA / "Outcomes-a.txt").read_bytes())
    whole = (DATA / "set-a.tar.gz").read_bytes()
    flipped = bytearray(whole)
    flipped[3_000_000:3_000_100] = bytes(100)
    for content in (b"", b"not gzip", whole[:2_000_000], bytes(flipped)):
        (tmp_path / "set-a.tar.gz").write_bytes(content)
        with pytest.raises(UserError, match="corrupt"):
            load(tmp_path, tmp_path)


def test_a_missing_descriptor_and_an_archive_without_measurements_are_reported(tmp_path: Path) -> None:
    write(tmp_path, {"1": record(1, "01:00,HR,80\n"), "2": record(2, "").replace("00:00,ICUType,1\n", "")})
    with pytest.raises(UserError, match="lacks its descriptor 'ICUType'"):
        load(tmp_path, tmp_path)
    with pytest.raises(UserError, match="no record holds a measurement"):
        load(write(tmp_path, {"1": record(1, "")}), tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"unit": -1}, "ICUType of record 2 is -1"),
        ({"unit": 5}, "ICUType.* is 5.*4 SICU"),
        ({"sex": 2}, "Gender.* is 2"),
    ],
)
def test_an_unknown_code_is_named_with_its_record(tmp_path: Path, changed: dict[str, int], said: str) -> None:
    write(tmp_path, {"1": record(1, "01:00,HR,80\n"), "2": record(2, "01:00,HR,80\n", **changed)})
    with pytest.raises(UserError, match=said):
        load(tmp_path, tmp_path)


def test_missing_root_and_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        PhysioNet2012(PhysioNet2012Params(root=tmp_path / "nowhere")).files()
    with pytest.raises(UserError, match=r"set-a.tar.gz"):
        PhysioNet2012(PhysioNet2012Params(root=tmp_path)).files()


def test_parameters_are_strict() -> None:
    assert PhysioNet2012Params(root="~/x").root == Path.home() / "x"  # type: ignore[arg-type]
    for wrong in ({"window_hours": 0}, {"window_hours": 72}, {"task": "readmission"}, {"windowhours": 3}):
        with pytest.raises(ValidationError):
            PhysioNet2012Params(root="x", **wrong)  # type: ignore[arg-type]


def write_set(folder: Path, letter: str, numbers: range) -> None:
    """Write a set of records under its letter; every third record has the outcome."""
    (folder / letter).mkdir()
    outcomes = "RecordID,In-hospital_death\n" + "".join(f"{n},{int(n % 3 == 0)}\n" for n in numbers)
    write(folder / letter, {str(n): record(n, f"01:00,HR,{60 + n % 40}\n") for n in numbers}, outcomes)
    (folder / letter / "set-a.tar.gz").rename(folder / f"set-{letter}.tar.gz")
    (folder / letter / "Outcomes-a.txt").rename(folder / f"Outcomes-{letter}.txt")


def test_several_sets_are_one_data_set_and_each_case_says_its_set(tmp_path: Path) -> None:
    write_set(tmp_path, "a", range(10, 20))
    write_set(tmp_path, "b", range(0, 10))  # an earlier number in a later set
    cohort = load(tmp_path, tmp_path, sets=("b", "a"))
    assert cohort.cases.case_ids == tuple(str(n) for n in range(20))
    assert cohort.labels.tolist() == [int(n % 3 == 0) for n in range(20)]
    assert cohort.groups["set"] == ("b",) * 10 + ("a",) * 10
    rates = [case.values_in_order(["heart_rate"])[0, 0] for case in cohort.cases]
    assert rates == [60 + n for n in range(20)]
    assert load(tmp_path, tmp_path).cases.case_ids == tuple(str(n) for n in range(10, 20))


def test_a_record_in_two_sets_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path, "a", range(10))
    write_set(tmp_path, "c", range(8, 18))
    with pytest.raises(UserError, match="2 records are in two sets, the first is 8"):
        load(tmp_path, tmp_path, sets=("a", "c"))


def test_a_set_that_is_absent_is_named(tmp_path: Path) -> None:
    write_set(tmp_path, "a", range(10))
    with pytest.raises(UserError, match=r"there is no 'set-b\.tar\.gz'"):
        load(tmp_path, tmp_path, sets=("a", "b"))
