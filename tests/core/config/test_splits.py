"""The ways to write `split`, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from eagbench.config.benchmark import Benchmark
from eagbench.config.loading import load_benchmark
from eagbench.config.splits import FactSplit, FileSplit, SourceSplit, SplitSpec
from eagbench.errors import UserError

TEXT = "name: b\ndata: {{name: eicu, root: here}}\nsplit: {}\nmethods: [lightgbm]\nmetrics: [auroc]\n"


def load(folder: Path, split: str, text: str = TEXT) -> Benchmark:
    path = folder / "b.yaml"
    path.write_text(text.format(split))
    return load_benchmark(path).benchmark


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{folds: 3}", SplitSpec(folds=3)),
        ("{file: here.csv, seed: 2}", FileSplit(file=Path("here.csv"), seed=2)),
        ("source", SourceSplit(by="source")),
        ("{by: source, missing: leave_out}", SourceSplit(by="source", missing="leave_out")),
        ("{by: hospital, held_out: [73, 264]}", FactSplit(by="hospital", held_out=("73", "264"))),
        ("{by: hospital, folds: 4, tuning: 0.2}", FactSplit(by="hospital", folds=4, tuning=0.2)),
        (
            "{by: a, train: [x], tuning: [y], held_out: [z]}",
            FactSplit(by="a", train=("x",), tuning=("y",), held_out=("z",)),
        ),
    ],
)
def test_a_split_means_what_it_says(tmp_path: Path, written: str, meant: object) -> None:
    assert load(tmp_path, written).split == meant


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{file: x, fold: 3}", "unknown key 'split.fold'"),
        ("{by: hospital, folds: 3, train: [a]}", "with `folds` each value is held out once"),
        ("{by: hospital, held_out: [a], folds: 3}", "or `folds`"),
        ("{by: hospital, held_out: []}", "'split.held_out'"),
        ("{by: hospital, held_out: [a], tuning: [a]}", "a is named twice"),
        ("random", "'random' doesn't name a split"),
        ("{train: 0.5, held_out: 0.2}", "the shares add up to 0.8"),
    ],
)
def test_a_wrong_split_is_refused_with_its_place(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, written)
    assert said in error.value.what
    assert "b.yaml" in str(error.value.where)


def test_a_file_names_the_cases_of_one_data_set(tmp_path: Path) -> None:
    domains = TEXT.replace(
        "data: {{name: eicu, root: here}}", "domains: {{a: tjh, b: eicu}}\ntransfer: {{train: each}}"
    )
    with pytest.raises(UserError, match="names the cases of one data set"):
        load(tmp_path, "{file: x.csv}", domains)


def test_the_schema_knows_every_way() -> None:
    choices = Benchmark.model_json_schema()["properties"]["split"]["oneOf"]
    assert {"const": "source"} in choices
    assert len(choices) == 5
