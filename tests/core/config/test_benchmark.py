"""A benchmark is validated with messages that a person can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from eagbench.config.loading import load_benchmark
from eagbench.errors import UserError

GOOD = """\
name: b
data: {name: tjh, root: here}
split: {train: 0.7, tuning: 0.1, held_out: 0.2}
methods:
  - lightgbm
  - {name: lightgbm, as: small, num_leaves: 3}
conditions:
  - {name: missing_values, severity: [0.1, 0.3]}
  - clean
seeds: [0, 1]
metrics: [auroc]
profiles:
  quick: {seeds: [0]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "b.yaml"
    path.write_text(text)
    return path


def test_a_good_benchmark(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path, GOOD)).benchmark
    assert [m.label for m in benchmark.methods] == ["lightgbm", "small"]
    assert benchmark.methods[1].params == {"num_leaves": 3}
    assert [c.name for c in benchmark.conditions] == ["clean", "missing_values"]
    assert benchmark.seeds == (0, 1)


def test_profile_and_seeds_are_laid_on_top(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_benchmark(path, profile="quick").benchmark.seeds == (0,)
    assert load_benchmark(path, profile="quick", seeds=(4, 5)).benchmark.seeds == (4, 5)
    with pytest.raises(UserError, match=r"no profile 'quik'.*\n.*quick"):
        load_benchmark(path, profile="quik")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [0, 1]", "seedz: [0, 1]", r"b\.yaml:10: unknown key 'seedz'(.|\n)*did you mean 'seeds'"),
        ("held_out: 0.2", "heldout: 0.2", r"b\.yaml:3: unknown key 'split.heldout'(.|\n)*did you mean 'held_out'"),
        ("seeds: [0, 1]", "seeds: [zero]", r"b\.yaml:10: 'seeds.*valid integer"),
        ("held_out: 0.2", "held_out: 0.4", r"b\.yaml:3: .*the shares add up to 1\.2, not to 1"),
        ("as: small, ", "", r"b\.yaml:4: .*the method lightgbm stands here more than once"),
        ("as: small", "as: a/b", "a label is made of letters"),
        ("severity: [0.1, 0.3]", "share: 1", "needs `severity"),
        ("severity: [0.1, 0.3]", "level: [0]", "levels run from 1 to 5"),
        ("  - clean\n", "", "`clean` must be among the conditions"),
        ("name: b\n", "", "the key 'name' is missing"),
        ("metrics: [auroc]", "metrics: [7]", "a component is a name"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "the seed 0 stands here more than once"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load_benchmark(write(tmp_path, GOOD.replace(old, new)))
    import re

    assert re.search(message, caught.value.message), caught.value.message


def test_folds_and_shares_exclude_each_other(tmp_path: Path) -> None:
    text = GOOD.replace("train: 0.7, tuning: 0.1, held_out: 0.2", "folds: 5, held_out: 0.2")
    with pytest.raises(UserError, match="either `folds`, or the shares"):
        load_benchmark(write(tmp_path, text))


def test_a_set_value_is_blamed_on_its_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set seedz=\[1\]: unknown key 'seedz'"):
        load_benchmark(write(tmp_path, GOOD), sets=["seedz=[1]"])
