"""The report's sections on training, from curves and summaries whose means are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.report.html import write_report
from eagbench.report.sections import training as training_sections
from eagbench.report.sections.training import VOID
from eagbench.report.sections.training_curves import trained
from eagbench.report.wording import EN_DASH
from eagbench.runs.reader import RunFolder
from tests.core.report.test_html import Page

STAGE_TWO = "policy_optimisation"


def curve(method: str, seed: int, stage: str, kind: str, values: dict[str, list[float]]) -> list[dict[str, Any]]:
    keys = {"method": method, "seed": seed, "fold": 0, "kind": kind, "label": kind, "stage": stage}
    return [
        {**keys, "step": step, "name": name, "value": value}
        for name, numbers in values.items()
        for step, value in enumerate(numbers, start=1)
    ]


def class_summary(cases: int, best: list[int], total: float) -> dict[str, Any]:
    described = {
        "trajectories": sum(best),
        "unparsed": 0,
        "mean_reward": {"total": total, "attention": 0.25},
        "mean_cited": 2.0,
        "answers_by_tenth": best,
    }
    found = {**described, "trajectories": 3 * cases, "unparsed": cases}
    return {"cases": cases, "generated_tokens": 100 * cases, "all": found, "best": described}


def summary(seed: int) -> dict[str, Any]:
    return {
        "negative": class_summary(10 + 20 * seed, [10 + 20 * seed, *[0] * 9], 0.1 + 0.4 * seed),
        "positive": class_summary(5, [*[0] * 9, 5], 0.5),
    }


@pytest.fixture
def run_folder(simulated_run, tmp_path: Path) -> Path:
    """Both seeds of eag_rl and of two methods that share all their stages; Stage I is shared by all three."""
    folder = simulated_run.write(tmp_path / "run")
    rows: list[dict[str, Any]] = []
    lines = []
    for seed in (0, 1):
        for method in ("eag_rl", "lightgbm", "concare"):
            rows += curve(method, seed, f"sft{seed}", "sft", {"loss": [2.0, 1.0], "learning_rate": [1e-3, 1e-4]})
            keys = {"method": method, "seed": seed, "fold": 0, "kind": "trajectories", "label": "expert_mcts, eag"}
            lines.append({**keys, "stage": f"t{seed}", "file": "summary.json", "content": summary(seed)})
            lines.append({**keys, "stage": f"sft{seed}", "file": "selected.json", "content": {"distinct": 3}})
        above = [0.0, 0.04, 0.02] if seed == 0 else [0.03, 0.05, 0.04]
        acts = {
            "reward": [0.0, 0.5, 1.0],
            "reward_attention": [0.1, 0.2, 0.3],
            "entropy": [1.0, 0.9, 0.8],
            "kl": [0.0, 0.01, 0.02],
            "length": [40.0, 41.0, 42.0 + seed],
            "unparsed_rate": [0.1, 0.05, 0.0],
            "clip_above_fixed": above,
            "clip_freed": [0.01, 0.01, 0.01],
            "upper_bound": [0.3, 0.3, 0.3],
            "gradient_norm": [1.0, 1.0, 1.0],
        }
        rows += curve("eag_rl", seed, f"eag{seed}", STAGE_TWO, acts)
        still = {"reward": [0.0, 0.0, 0.0], "clip_above_fixed": [0.0, 0.01, 0.019], "clip_freed": [0.0, 0.0, 0.0]}
        for method in ("lightgbm", "concare"):
            rows += curve(method, seed, f"still{seed}", STAGE_TWO, still)
    pq.write_table(pa.Table.from_pylist(rows), folder / "training.parquet")
    (folder / "training_summaries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def page(run_folder: Path) -> Page:
    return Page(write_report(RunFolder(run_folder)).read_text(encoding="utf-8"))


def section(page: Page, title: str, until: str) -> str:
    start = page.words.rindex(f" {title} ", 0, page.words.rindex(until))
    return page.words[start : page.words.index(until, start)]


def test_methods_that_share_their_stages_stand_together(run_folder: Path) -> None:
    found = {(item.methods, item.kind) for item in trained(RunFolder(run_folder))}
    assert found == {
        (("eag_rl", "lightgbm", "concare"), "sft"),
        (("eag_rl",), STAGE_TWO),
        (("lightgbm", "concare"), STAGE_TWO),
    }
    (eag_rl,) = [item for item in trained(RunFolder(run_folder)) if item.methods == ("eag_rl",)]
    (first, second) = eag_rl.curves["length"]
    assert (first.seed, first.steps, first.values) == (0, (1, 2, 3), (40.0, 41.0, 42.0))
    assert (second.seed, second.values) == (1, (40.0, 41.0, 43.0))


def test_each_training_has_its_curves(page: Page) -> None:
    drawings = [attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg"]
    assert "Training of eag_rl" in drawings
    assert "Training of lightgbm, concare" in drawings
    assert drawings.count("Loss of supervised fine-tuning") == 1
    for title in ("Reward: attention", "Entropy", "KL divergence", "Ratio above 1.2", "Freed", "Length", "Unparsed"):
        assert title in page.text
    # What is plotted is explained.
    assert "tokens per trajectory" in page.words
    assert "Not drawn, in training.parquet: gradient_norm and upper_bound" in page.words


def test_lines_are_as_many_as_seeds_and_their_mean(run_folder: Path) -> None:
    run = RunFolder(run_folder)
    (eag_rl,) = [item for item in trained(run) if item.methods == ("eag_rl",)]
    traces = training_sections._traces(run, eag_rl.curves["clip_above_fixed"])
    assert [trace.seed for trace in traces] == [0, 1, None]
    assert [y for _, y in traces[2].points] == pytest.approx([0.015, 0.045, 0.03])
    drawn = training_sections.training(run)
    assert drawn is not None
    svg = next(block.svg for block in drawn.blocks if block.kind == "figure")
    assert svg.count('class="curve trace"') == 2 * 8  # reward, its part, entropy, KL, two shares, length, unparsed
    assert svg.count('class="curve"') == 8


def test_the_table_goes_from_the_first_third_to_the_last(page: Page) -> None:
    assert "0.000 → 1.000" in page.words
    assert "40.0 → 42.5" in page.words
    assert "10.0 % → 0.0 %" in page.words


def test_clipping_below_a_hundredth_is_void(page: Page) -> None:
    table = page.words[page.words.index("How often clipping acted") :]
    table = table[: table.index("What the search found")]
    assert f"eag_rl 3.00 % 1.00 % {EN_DASH} {EN_DASH} 0.300 acts" in table
    assert f"lightgbm, concare 0.97 % 0.00 % {EN_DASH} {EN_DASH} fixed {VOID}" in table
    assert f"{VOID}: below 1.0 % of the tokens of lightgbm and concare" in page.words


def test_clipping_that_acts_everywhere_is_not_called_void(run_folder: Path) -> None:
    path = run_folder / "training.parquet"
    rows = [row for row in pq.read_table(path).to_pylist() if row["method"] == "eag_rl"]
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = write_report(RunFolder(run_folder)).read_text()
    assert "VOID" not in source
    assert "In every method at least 1.0 % of the tokens met the fixed bound" in source


def test_what_the_search_found_is_summed_over_seeds(page: Page) -> None:
    table = page.words[page.words.index("What each search wrote") :]
    name = "expert_mcts, eag (eag_rl and 2 more)"
    # 10 and 30 negative cases with mean rewards 0.1 and 0.5 make (10 x 0.1 + 30 x 0.5) / 40.
    assert f"{name} negative 40 120 33.3 % 100 0.400 0.250 2.0" in table
    assert f"{name} positive 10 30 33.3 % 100 0.500 0.250 2.0" in table
    assert "eag_rl and 2 more: eag_rl, lightgbm, concare." in page.words
    drawings = [attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg"]
    assert drawings.count("Answers of the best trajectories, by class") == 1


def test_a_run_without_training_has_none_of_these_sections(simulated_run, tmp_path: Path) -> None:
    words = Page(write_report(RunFolder(simulated_run.write(tmp_path / "run"))).read_text(encoding="utf-8")).words
    for title in ("Clipping", "What the search found", "Training of"):
        assert title not in words


def test_curves_of_a_kind_that_nobody_knows_are_drawn_as_they_are(simulated_run, tmp_path: Path) -> None:
    folder = simulated_run.write(tmp_path / "run")
    rows = curve("concare", 0, "x", "probing", {"<b>odd</b>": [1.0, float("nan"), 3.0]})
    pq.write_table(pa.Table.from_pylist(rows), folder / "training.parquet")
    source = write_report(RunFolder(folder)).read_text(encoding="utf-8")
    assert "<b>odd" not in source
    assert "&lt;b&gt;odd&lt;/b&gt;" in source
    assert "nan" not in source[source.index('id="training"') : source.index('id="data"')]
