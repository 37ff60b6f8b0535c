"""A finished run's tables, figures and display hold the numbers of the run folder."""

from __future__ import annotations

import csv
import html
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import eagbench
from eagbench.runs.reader import RunFolder


@pytest.fixture(scope="module")
def run(session_folder: Path) -> eagbench.Run:
    return eagbench.open_run(session_folder / "runs" / "first")


def test_results_are_every_row_of_the_file(run: eagbench.Run) -> None:
    with (run.folder / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(run.results) == len(rows)
    assert list(run.results["method"]) == [row["method"] for row in rows]
    assert list(run.results["value"]) == [float(row["value"]) for row in rows]
    assert list(run.results.columns[:8]) == [
        "method", "condition", "severity", "seed", "metric", "value", "ci_low", "ci_high",
    ]  # fmt: skip
    assert set(run.results["seed"]) == {"0", "1", "mean"}
    assert str(run.results["n_cases"].dtype) == "Int64"


def test_cases_give_the_results(run: eagbench.Run) -> None:
    cases = run.cases.query("method == 'small_trees' and condition == 'missing_values' and severity == 0.5")
    number = run.results.query(
        "method == 'small_trees' and condition == 'missing_values' and severity == 0.5 and metric == 'auroc'"
    ).set_index("seed")["value"]
    for seed, rows in cases.groupby("seed"):
        assert roc_auc_score(rows["label"], rows["probability"]) == pytest.approx(number[seed])
    assert len(run.cases) == 2 * 3 * 2 * 80


def test_a_method_may_be_called_na_or_1(run: eagbench.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    text = (folder / "results.csv").read_text().replace("small_trees", "NA").replace("logistic_regression", "1")
    (folder / "results.csv").write_text(text)
    assert set(eagbench.open_run(folder).results["method"]) == {"NA", "1"}


def test_a_bundle_without_answers_says_so(run: eagbench.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    shutil.rmtree(folder / "predictions")
    bundle = eagbench.open_run(folder)
    assert not bundle.results.empty
    with pytest.raises(eagbench.UserError, match="holds no answers"):
        _ = bundle.cases


@pytest.mark.parametrize(("kind", "metric"), [("roc", "auroc"), ("precision_recall", "auprc")])
@pytest.mark.parametrize(("condition", "severity"), [("clean", None), ("missing_values", 0.3)])
def test_the_area_under_a_line_is_the_reports_number(
    run: eagbench.Run, kind: str, metric: str, condition: str, severity: float | None
) -> None:
    ax = run.plot(kind, condition=condition, severity=severity)
    means = run.results.query(f"condition == '{condition}' and seed == 'mean' and metric == '{metric}'")
    if severity is not None:
        means = means.query(f"severity == {severity}")
    drawn = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    assert [line.get_label().partition(",")[0] for line in drawn] == ["logistic_regression", "small_trees"]
    for line, (_, row) in zip(drawn, means.iterrows(), strict=True):
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(row["value"], abs=1e-12)
        assert f"{row['value']:.3f} ({row['ci_low']:.3f}\u2013{row['ci_high']:.3f})" in line.get_label()


def test_the_decision_curve_is_the_reports(run: eagbench.Run) -> None:
    ax = run.plot("decision")
    table = pd.read_csv(run.folder / "figures" / "decision.csv").query("part == 'interval'")
    drawn = {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}
    assert list(drawn) == ["logistic_regression", "small_trees"]
    for method, line in drawn.items():
        rows = table[table["method"] == method]
        np.testing.assert_allclose(line.get_xdata(), rows["threshold"])
        np.testing.assert_allclose(line.get_ydata(), rows["net_benefit"], atol=1e-12)


def test_the_reliability_diagram_is_the_reports(run: eagbench.Run) -> None:
    from eagbench.report.sections.calibration import reliability_panel

    ax = run.plot("calibration", methods=["small_trees"])
    folder = RunFolder(run.folder)
    answers = folder.answers(folder.groups[0], "small_trees")
    assert answers is not None
    points = reliability_panel(folder, "small_trees", answers).answered.points
    drawn = {(x, y) for line in ax.get_lines()[1:] for x, y in line.get_xydata()}
    assert {(mean, rate.value) for mean, rate in points} <= drawn


def test_a_figure_can_be_drawn_beside_another(run: eagbench.Run, tmp_path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2)
    assert run.plot("roc", ax=left) is left
    assert run.plot("precision_recall", methods="small_trees", ax=right) is right
    assert len(right.get_legend().get_texts()) == 1
    figure.savefig(tmp_path / "both.pdf")
    plt.close("all")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"kind": "rok"}, "did you mean 'roc'"),
        ({"methods": ["small_tree"]}, "did you mean 'small_trees'"),
        ({"condition": "missing_value"}, "did you mean 'missing_values'"),
        ({"condition": "missing_values"}, "has several\n  choices: 0.3, 0.5"),
        ({"condition": "missing_values", "severity": 0.4}, "no severity 0.4"),
        ({"domains": ("here", "there")}, "no domains"),
    ],
)
def test_what_a_run_does_not_have_is_a_user_error(run: eagbench.Run, wanted: dict[str, object], message: str) -> None:
    with pytest.raises(eagbench.UserError, match=message):
        run.plot(**wanted)


def test_figures_and_display_carry_the_stamp(run: eagbench.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "synthetic": True, "name": "<b>x</b>"}))
    stamped = eagbench.open_run(folder)
    assert "SYNTHETIC DATA." in stamped.plot("roc").get_title(loc="left")
    shown = stamped._repr_html_()
    assert "SYNTHETIC DATA." in shown
    assert html.escape("<b>x</b>") in shown
    assert "<b>" not in shown


def test_a_notebook_shows_the_run(session_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed for real where Jupyter is installed, else asked for as IPython asks."""
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel chooses the one that draws into the notebook
    lines = [
        "import eagbench",
        f"run = eagbench.open_run({str(session_folder / 'runs' / 'first')!r})",
        "run",
    ]
    try:
        import ipykernel  # noqa: F401
        import nbclient
        import nbformat
    except ImportError:
        shown = eagbench.open_run(session_folder / "runs" / "first")._repr_html_()
        images = 1
    else:
        cells = [nbformat.v4.new_code_cell("\n".join(lines)), nbformat.v4.new_code_cell("run.plot('roc');")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
        [output] = notebook.cells[0].outputs
        shown = output["data"]["text/html"]
        images = sum("image/png" in output.get("data", {}) for output in notebook.cells[1].outputs)
    assert images == 1
    assert "small_trees" in shown
    assert "AUROC" in shown
    assert "report.html" in shown
