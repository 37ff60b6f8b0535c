"""What components leave in their folders: equal content gives equal bytes, and nothing is unpickled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from eagbench.api import UserError, files_under, load_arrays, load_estimator, save_arrays, save_estimator
from eagbench.contracts.rules import check_files

RNG = np.random.default_rng(0)
X = np.where(RNG.random((150, 4)) < 0.1, np.nan, RNG.normal(size=(150, 4)))
Y = (RNG.random(150) < 0.4).astype(int)


def test_arrays_come_back_to_the_bit_with_what_was_said_about_them(tmp_path: Path) -> None:
    arrays = {
        "b": np.array([np.inf, -0.0, np.nan, 1e-300]),
        "a": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "empty": np.zeros((0, 2)),
        "flags": np.array([True, False]),
    }
    save_arrays(tmp_path / "x.safetensors", arrays, {"names": ["u", "v"], "n": 3})
    found, about = load_arrays(tmp_path / "x.safetensors")
    assert about == {"names": ["u", "v"], "n": 3}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_equal_arrays_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from eagbench.contracts.saving import save_arrays\n"
        "names = list('abcdefgh')\n"
        "save_arrays(Path(sys.argv[1]), {n: np.arange(3.0) for n in names}, dict.fromkeys(names, 1))\n"
    )
    for i in range(3):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / str(i))], check=True)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(3)}) == 1


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
    ],
)
def test_an_estimator_answers_the_same_and_equal_ones_give_equal_bytes(tmp_path: Path, estimator) -> None:
    for name in ("first", "second"):
        save_estimator(tmp_path / name, estimator.fit(X, Y))
    check_files(tmp_path)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    loaded = load_estimator(tmp_path / "first")
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))


def twice(values: np.ndarray) -> np.ndarray:
    return 2 * values


def test_what_is_no_scikit_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"not of tests\.core\.contracts\.test_saving\.twice"):
        save_estimator(tmp_path / "x", FunctionTransformer(twice).fit(X))
    assert not (tmp_path / "x").exists()


def test_files_of_a_data_set_are_found_or_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv.gz").touch()
    found = files_under(tmp_path, ["a.csv", ("b.csv.gz", "b.csv")], "from its origin")
    assert found == (tmp_path / "a.csv", tmp_path / "b.csv.gz")
    with pytest.raises(UserError, match=r"data.root: there is no 'c.csv or d.csv'") as refused:
        files_under(tmp_path, [("c.csv", "d.csv")], "from its origin")
    assert refused.value.hint == "from its origin"
    with pytest.raises(UserError, match="is not a folder"):
        files_under(tmp_path / "a.csv", ["a.csv"], "from its origin")
