"""The report of a sweep, made from real Optuna studies on journal files; its figures' numbers against the study's."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import yaml

from eagbench.cli.commands import report as report_command
from eagbench.errors import UserError
from eagbench.report import wording
from eagbench.runs.schema import COMPARISON_COLUMNS, KEY_COLUMNS
from eagbench.sweep.folder import EVALUATION, SWEEP, TRIALS, ObjectiveRecord, SweepRecord, TuningRecord, read_sweep
from eagbench.sweep.report import figures as report_figures
from eagbench.sweep.report import sections as report_sections
from eagbench.sweep.report import tables as report_tables
from eagbench.sweep.report.axes import ChoiceAxis, NumberAxis, short_names
from eagbench.sweep.report.figures import BEST, BEST_SO_FAR, DEFAULT, FAILED, PRUNED
from eagbench.sweep.report.html import render, write_report
from eagbench.sweep.report.trials import TUNING, SweepFolder
from eagbench.sweep.storage import JOURNAL, open_storage
from eagbench.sweep.tables import write_tables
from tests.core.report.conftest import METHODS, SimulatedRun
from tests.core.report.test_html import Page, captions

LEAVES, RATE = "methods.trees.num_leaves", "methods.trees.learning_rate"
BOOSTER, DROP = "methods.trees.booster", "methods.trees.drop_rate"
SPACE = {
    LEAVES: {"int": [2, 128], "log": True},
    RATE: {"float": [0.005, 0.3], "log": True},
    "data.window_hours": {"int": [12, 48], "step": 12},
    BOOSTER: {"categorical": ["gbdt", {"name": "dart", "skip": 0.5}]},
    DROP: {"float": [0.0, 0.5], "when": {BOOSTER: "dart"}},
}
DART = '{"name": "dart", "skip": 0.5}'
DEFAULTS = {LEAVES: 31, RATE: 0.1, "data.window_hours": 48, BOOSTER: "gbdt"}
AUROC = ObjectiveRecord("auroc", "maximize", "metric", "auroc", "trees")
COSTS = (
    AUROC,
    ObjectiveRecord("loss_in_order", "minimize", "degradation", "auroc", "trees", "feature_order", 1.0),
    ObjectiveRecord("seconds", "minimize", "cost", "seconds", "trees"),
)


def make_sweep(
    folder: Path, objectives=(AUROC,), trials=25, prune=False, default=True, failing=(7,), **changes
) -> Path:
    folder.mkdir(parents=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4) if prune else optuna.pruners.NopPruner()
    record = SweepRecord(
        **{
            "name": "swept", "fingerprint": "ab" * 32, "benchmark": "b.yaml", "benchmark_name": "b",
            "domain": "physionet2012", "is_synthetic": False, "task": "in_hospital_mortality",
            "objectives": objectives, "space": SPACE, "sampler": {"name": "TPESampler", "seed": 0},
            "pruner": {"name": type(pruner).__name__}, "trials": trials, "seeds": (0, 1, 2), "limit": None,
            "tuning": TuningRecord("tuning_part", 1, 400, 57), "default": default,
            "default_reason": None if default else f"{LEAVES} is 200, above 128", "storage": "study.journal",
            "eagbench": "0.1.0",
        } | changes
    )  # fmt: skip
    (folder / SWEEP).write_text(record.text())
    # In memory first: a journal waits for the disk a dozen times a trial.
    memory = optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        study_name=record.name,
        storage=memory,
        directions=[objective.direction for objective in objectives],
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=pruner,
    )
    if default:
        study.enqueue_trial(DEFAULTS)

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        leaves = trial.suggest_int(LEAVES, 2, 128, log=True)
        rate = trial.suggest_float(RATE, 0.005, 0.3, log=True)
        hours = trial.suggest_int("data.window_hours", 12, 48, step=12)
        booster = trial.suggest_categorical(BOOSTER, ["gbdt", DART])
        drop = 0.1 if booster == "gbdt" else trial.suggest_float(DROP, 0, 0.5)
        n = trial.number
        trial.set_user_attr("origin", {"default": True} if default and n == 0 else {})
        trial.set_user_attr("seconds", 2.0 + n)
        trial.set_user_attr("stages", {"expert": {"computed": 2, "reused": 1}, "cohort": {"computed": 0, "reused": 1}})
        if n in failing:
            trial.set_user_attr("failure", "lost")
            raise RuntimeError("its process died")
        value = 0.86 - 0.02 * abs(math.log(leaves / 12)) - 0.03 * abs(math.log(rate / 0.03))
        value -= 0.001 * (48 - hours) / 4 + 0.02 * drop
        for step in range(3 if prune else 0):
            trial.report(value + 0.01 * math.sin(3 * step + n), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return (value, 0.01 + 0.002 * hours / (1 + drop), 0.1 * leaves)[: len(objectives)]

    study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
    optuna.copy_study(from_study_name=record.name, from_storage=memory, to_storage=open_storage(record.storage, folder))
    write_tables(folder, record, study.get_trials())
    return folder


def study_of(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="swept", storage=open_storage("study.journal", folder))


def page_of(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("sweep") / "one")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("sweep") / "pruned", prune=True, is_synthetic=True)


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("sweep") / "several", objectives=COSTS)


def test_the_page_is_one_file_that_loads_nothing(folder, several, pruned):
    for swept in (folder, several, pruned):
        page = page_of(swept)
        assert not page.open
        assert not [tag for tag, _ in page.tags if tag in {"link", "img", "iframe", "object"}]
        assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]  # inline
        addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in {"src", "href"}]
        assert addresses
        assert all(value.startswith("#") for value in addresses)
        assert {value[1:] for value in addresses} <= {attrs["id"] for _, attrs in page.tags if "id" in attrs}
        assert "http" not in (swept / "report.html").read_text().replace("http-equiv", "")


def test_the_same_study_gives_the_same_bytes(folder):
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_every_objective_value_stands_beside_the_words_tuning_cases(folder, several):
    for swept in (folder, several):
        page = page_of(swept)
        numbered = re.split(r"(?=(?:Table|Figure) S?\d+\.)", page.words)[1:]
        without_values = ("The search space", "Stages of all trials")
        told = [part for part in numbered if not any(text in part for text in without_values)]
        assert len(told) > 5
        assert all(TUNING in part for part in told)
        svg_titles = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
        assert any(TUNING in title for title in svg_titles)
        opening = page.words[: page.words.index("The search space")]
        for number in re.findall(r"with 0\.\d{3}", opening):
            assert TUNING in opening[opening.index(number) : opening.index(number) + 100]


def test_synthetic_is_stamped_on_the_page_and_on_every_caption(folder, pruned):
    page = page_of(pruned)
    assert "SYNTHETIC DATA Every number on this page comes from generated records" in page.words
    assert page.words.count("SYNTHETIC DATA.") == len(captions(page, "Table")) + len(captions(page, "Figure")) > 8
    assert "SYNTHETIC" not in page_of(folder).words


def test_the_history_holds_every_trial_and_the_best_so_far(folder):
    study = study_of(folder)
    [panel] = report_sections.history_panels(SweepFolder(folder))
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert [(p.trial, p.value) for p in panel.points] == [(t.number, t.value) for t in complete]
    running = [max(t.value for t in complete[: i + 1]) for i in range(len(complete))]
    expected = [(t.number, t.value) for i, t in enumerate(complete) if i == 0 or running[i] > running[i - 1]]
    assert panel.best == expected
    assert panel.best[-1] == (study.best_trial.number, study.best_value)
    assert panel.default == study.trials[0].value
    assert [p.look for p in panel.points if p.trial == 0] == [DEFAULT]
    assert {p.trial for p in panel.points if p.look == BEST_SO_FAR} == {number for number, _ in expected} - {0}
    assert panel.without_value == [(7, FAILED)]


def test_a_minimised_objective_gets_better_downwards(several):
    panel = report_sections.history_panels(SweepFolder(several))[2]
    values = [value for _, value in panel.best]
    assert values == sorted(values, reverse=True)
    assert values[-1] == min(p.value for p in panel.points)


def test_importances_are_those_of_optuna_and_of_the_parameters_that_matter(folder):
    sweep = SweepFolder(folder)
    study, n = study_of(folder), len(sweep.complete)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=5 / n)
    shares = sweep.importances(0)
    assert shares == pytest.approx(optuna.importance.get_param_importances(study, evaluator=evaluator))
    assert sum(shares.values()) == pytest.approx(1)
    page = page_of(folder)
    assert f"from {n} complete trials" in page.words
    for name, share in shares.items():
        assert f"{name} {100 * share:.1f}" in page.words


def test_few_trials_tell_no_importances(tmp_path):
    folder = make_sweep(tmp_path / "few", trials=9, failing=())
    assert "Nine complete trials can't tell which parameters matter" in page_of(folder).words
    with pytest.raises(ValueError, match="9 complete trials"):
        SweepFolder(folder).importances(0)


def test_slices_place_every_value_on_its_axis(folder):
    sweep, study = SweepFolder(folder), study_of(folder)
    panels = dict(zip(sweep.axes, report_sections.slice_panels(sweep, 0), strict=True))
    assert panels[LEAVES].title == "num_leaves"
    best = study.best_trial
    for name, expected in (
        (LEAVES, lambda v: math.log(v / 2) / math.log(128 / 2)),
        (RATE, lambda v: math.log(v / 0.005) / math.log(0.3 / 0.005)),
        ("data.window_hours", lambda v: (v - 12) / 36),
        (BOOSTER, lambda v: {"gbdt": 0.25, DART: 0.75}[v]),
        (DROP, lambda v: v / 0.5),
    ):
        told = [t for t in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)) if name in t.params]
        points = panels[name].points
        assert [x for x, _, _ in points] == pytest.approx([expected(t.params[name]) for t in told])
        assert [y for _, y, _ in points] == [t.value for t in told]
        if name in best.params:
            [(x, y)] = [(x, y) for x, y, look in points if look == BEST]
            assert (x, y) == (pytest.approx(expected(best.params[name])), best.value)


def test_axes_tell_their_ticks():
    assert NumberAxis(0.001, 10, is_log=True, is_whole=False).ticks(4) == [
        (pytest.approx(k / 4), label) for k, label in enumerate(("0.001", "0.01", "0.1", "1", "10"))
    ]
    assert [label for _, label in NumberAxis(12, 48, False, True, step=12).ticks(4)] == ["12", "24", "36", "48"]
    assert all("." not in label for _, label in NumberAxis(1, 4, is_log=False, is_whole=True).ticks(4))
    assert "6" in dict(reversed(tick) for tick in NumberAxis(6, 8, is_log=True, is_whole=False).ticks(4))
    mixed = ChoiceAxis((1, True, 1.0, None), ("1", "true", "1.0", "null"))
    assert [mixed.position(choice) for choice in mixed.choices] == [0.125, 0.375, 0.625, 0.875]


def test_short_names_tell_paths_apart():
    assert short_names(
        ["methods.a.search", "methods.a.search.weight", "methods.a.reward.weight", "methods.a.depth"]
    ) == {
        "methods.a.search": "search",
        "methods.a.search.weight": "search.weight",
        "methods.a.reward.weight": "reward.weight",
        "methods.a.depth": "depth",
    }
    assert short_names(["weight", "methods.a.weight"]) == {"weight": "weight", "methods.a.weight": "a.weight"}


def test_parallel_coordinates_know_what_a_trial_has_not(folder):
    sweep = SweepFolder(folder)
    names = list(sweep.axes)
    lines = report_sections.parallel_lines(sweep, names, 0)
    for line, trial in zip(lines, sweep.complete, strict=True):
        assert [place is None for place in line.places] == [name not in trial.params for name in names]
        assert line.value == trial.value
    assert any(None in line.places for line in lines)
    assert ">not set<" in (folder / "report.html").read_text()


def test_the_front_is_that_of_optuna(several):
    sweep, study = SweepFolder(several), study_of(several)
    front = {trial.number for trial in study.best_trials}
    assert 1 < len(front) < len(sweep.complete)
    panels = report_sections.front_panels(sweep)
    assert len(panels) == 3
    for panel, (i, j) in zip(panels, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert {number for number, _, _, look in panel.points if look == BEST} == front
        assert {n: (x, y) for n, x, y, _ in panel.points} == {
            t.number: (t.values[i], t.values[j]) for t in sweep.complete
        }
    table = report_tables.best_table(sweep)
    assert {int(line.name.split()[0]) for line in table.lines if not line.reference} == front
    words = page_of(several).words
    assert "Pareto front" in words
    assert "Loss in order ↓, TUNING CASES" in words


def test_pruned_trials_are_marked_and_their_values_kept_apart(pruned):
    sweep, study = SweepFolder(pruned), study_of(pruned)
    numbers = [t.number for t in study.get_trials(states=(optuna.trial.TrialState.PRUNED,))]
    assert numbers
    lines = report_sections.intermediate_lines(sweep)
    reported = [t for t in study.trials if t.intermediate_values]
    assert [line.points for line in lines] == [sorted(t.intermediate_values.items()) for t in reported]
    assert [t.number for t, line in zip(reported, lines, strict=True) if line.look == PRUNED] == numbers
    [panel] = report_sections.history_panels(sweep)
    assert [number for number, look in panel.without_value if look == PRUNED] == numbers
    assert not {p.trial for p in panel.points} & set(numbers)
    words = page_of(pruned).words
    assert f"MedianPruner stopped {wording.in_words(len(numbers), 'trial')} early" in words
    assert f"{len(numbers)} of them pruned" in words


def test_rungs_label_the_axis_of_intermediate_values(tmp_path):
    path = "methods.trees.n_estimators"
    folder = make_sweep(tmp_path / "rungs", prune=True, failing=(7,), rungs={path: [50, 125, 400]})
    sweep, study = SweepFolder(folder), study_of(folder)
    assert sweep.rungs == ("n_estimators", ("50", "125", "400"))
    text = (folder / "report.html").read_text() if write_report(folder) else ""
    figure = text[text.index('id="intermediate"') :]
    for label in ("50", "125", "400"):
        assert f'"middle">{label}</text>' in figure
    words = page_of(folder).words
    assert "while trials climbed their rungs" in words
    assert "n_estimators 50 n_estimators 125 n_estimators 400" in words
    assert "Rungs n_estimators: 50, 125, 400" in words
    every = report_tables.trials_table(sweep)
    at = every.columns.index("Rungs") - 1
    climbed = [len(trial.intermediate_values) for trial in study.trials]
    assert set(climbed) >= {0, 1, 3}
    assert [int(line.entries[at].text) for line in every.lines] == climbed
    rows = list(csv.DictReader((folder / TRIALS).open()))
    assert [int(row["rungs"]) for row in rows] == climbed


def test_the_best_ten_and_every_trial_stand_in_tables(folder):
    sweep, study = SweepFolder(folder), study_of(folder)
    ordered = sorted(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)), key=lambda t: -t.value)
    table = report_tables.best_table(sweep)
    assert [int(line.name.split()[0]) for line in table.lines[:10]] == [t.number for t in ordered[:10]]
    assert [line.name for line in table.lines[10:]] == ["0 (default)"]
    assert table.lines[10].reference
    every = report_tables.trials_table(sweep)
    assert len(every.lines) == len(study.trials)
    for line, trial in zip(every.lines, study.trials, strict=True):
        texts = [entry.text for entry in line.entries]
        assert texts[1] == (f"{trial.value:.3f}" if trial.value is not None else "\u2013")
        assert texts[2] == str(trial.params[LEAVES])
        assert texts[-3:] == [f"{2.0 + trial.number:.1f} s", "2", "2"]
    assert every.lines[7].entries[0].text == "failed"
    assert every.lines[7].entries[0].note == "lost"


def test_the_best_configuration_is_shown_against_the_default(folder):
    sweep = SweepFolder(folder)
    [best] = sweep.best
    lines = report_tables.difference(sweep, best).splitlines()
    own = yaml.safe_load("\n".join(line[2:] for line in lines if line[0] in " +"))
    default = yaml.safe_load("\n".join(line[2:] for line in lines if line[0] in " \u2212"))
    expected_booster = {"name": "dart", "skip": 0.5} if best.params[BOOSTER] == DART else "gbdt"
    trees = {"num_leaves": best.params[LEAVES], "learning_rate": best.params[RATE], "booster": expected_booster}
    assert own["methods"]["trees"] == trees | ({"drop_rate": best.params[DROP]} if DROP in best.params else {})
    assert default == {
        "data": {"window_hours": 48},
        "methods": {"trees": {"num_leaves": 31, "learning_rate": 0.1, "booster": "gbdt"}},
    }


def test_a_parameter_of_a_chosen_component_stands_within_it(tmp_path):
    folder = make_sweep(tmp_path / "nested", trials=1, default=False, failing=())
    sweep = SweepFolder(folder)
    trial = optuna.trial.create_trial(
        params={"methods.a.search": "mcts", "methods.a.search.depth": 2},
        distributions={
            "methods.a.search": optuna.distributions.CategoricalDistribution(["mcts"]),
            "methods.a.search.depth": optuna.distributions.IntDistribution(1, 3),
        },
        value=0.5,
    )
    shown = yaml.safe_load(report_tables.difference(sweep, trial))
    assert shown == {"methods": {"a": {"search": {"name": "mcts", "depth": 2}}}}


def test_a_default_outside_the_space_is_explained(tmp_path):
    folder = make_sweep(tmp_path / "outside", trials=5, default=False, failing=())
    words = page_of(folder).words
    assert "There is no trial of the default configuration: methods.trees.num_leaves is 200, above 128." in words
    assert SweepFolder(folder).default is None


def test_a_default_that_died_and_was_tried_again_is_still_the_default(tmp_path):
    folder = make_sweep(tmp_path / "retried", trials=2, failing=(0,))
    study = study_of(folder)
    study.add_trial(
        optuna.trial.create_trial(
            params=study.trials[0].params,
            distributions=study.trials[0].distributions,
            value=0.5,
            user_attrs={"origin": {"retry_of": 0}},
        )
    )
    default = SweepFolder(folder).default
    assert default is not None
    assert default.number == 2


def test_no_trial_yet_is_a_page_too(tmp_path):
    folder = make_sweep(tmp_path / "none", trials=1, failing=(0,))
    words = page_of(folder).words
    assert "No trial is complete yet." in words
    assert "The held-out set has not been looked at" in words


def test_stages_are_counted_by_kind(folder):
    n = len(study_of(folder).trials)
    assert f"expert {2 * n} {n} {n}" in page_of(folder).words
    assert f"cohort 0 0 {n}" in page_of(folder).words


def test_without_an_evaluation_the_held_out_set_was_not_looked_at(folder):
    words = page_of(folder).words
    assert "The held-out set has not been looked at: no number on this page comes from it." in words
    assert "HELD-OUT CASES" not in words


def test_the_evaluation_is_shown_with_its_interval_and_the_number_of_trials(tmp_path):
    folder = make_sweep(tmp_path / "evaluated", prune=True, failing=())
    run = SimulatedRun(cases=250, seeds=(0,), resamples=40, methods=METHODS[1:3])
    run.fill()
    run.write(folder / EVALUATION, synthetic=False)
    results = (folder / EVALUATION / "results.csv").read_text().splitlines()
    header, first = (line.split(",") for line in results[:2])
    of = dict(zip(header, first, strict=True))
    row = dict.fromkeys(COMPARISON_COLUMNS, "") | {key: of[key] for key in KEY_COLUMNS if key in COMPARISON_COLUMNS}
    row |= {"family": "primary", "metric": "auroc", "condition": "clean", "severity": "", "calibration": "none"}
    row |= {
        "method": "concare",
        "baseline": "lightgbm",
        "difference": "0.0123",
        "ci_low": "-0.0046",
        "ci_high": "0.0291",
    }
    row |= {"relative_percent": "1.5", "standard_error": "0.0086", "smallest_detectable": "0.0241", "p_value": "0.152"}
    row |= {"p_corrected": "0.152", "correction": "holm", "n_cases": "250", "n_positive": "35", "n_seeds": "2"}
    row |= {"undefined_resamples": "0"}
    with (folder / EVALUATION / "comparisons.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COMPARISON_COLUMNS)
        writer.writeheader()
        writer.writerow(row)
    manifest = folder / EVALUATION / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.rstrip()[:-1] + ', "comparisons": {"method": "concare", "metric": "auroc"}}')
    words = page_of(folder).words
    sweep = SweepFolder(folder)
    done = len(sweep.complete) + len(sweep.pruned)
    assert f"{done} trials, {len(sweep.pruned)} of them pruned, stood behind the choice" in words
    assert "+0.012 \u22120.005 to +0.029" in words
    assert "HELD-OUT CASES, evaluated once. concare minus each other method" in words
    assert "has not been looked at" not in words
    default, best = sweep.default.value, sweep.best[0].value
    assert f"{default:.3f} {best:.3f} +{best - default:.3f}" in words
    assert "+0.012 (\u22120.005 to +0.029)" in render(folder, "md")


def test_the_report_command_tells_a_sweep_from_a_run(folder, tmp_path):
    (folder / "report.html").unlink(missing_ok=True)
    assert report_command(folder, "html") == f"report: {folder / 'report.html'}"
    assert (folder / "report.html").is_file()
    assert report_command(folder, "csv") == (folder / TRIALS).read_text()
    table = report_command(folder, "md").splitlines()
    assert table[0].startswith("The 10 best of 24 complete trials. Values on TUNING CASES")
    assert len({line.count("|") for line in table[2:14]}) == 1
    assert r"\begin{tabular}" in report_command(folder, "latex")
    with pytest.raises(UserError, match="there is no format 'pdf'"):
        report_command(folder, "pdf")
    with pytest.raises(UserError, match="not a run folder"):
        report_command(tmp_path, "html")


def test_a_storage_that_the_record_can_not_say_whole_is_given(tmp_path):
    folder = make_sweep(tmp_path / "told", trials=1, failing=())
    record = read_sweep(folder)
    (folder / SWEEP).write_text(replace(record, storage="sqlite:///no/such/folder/***.db").text())
    with pytest.raises(UserError):
        write_report(folder)
    assert write_report(folder, str(folder / JOURNAL)).is_file()


def test_an_unknown_sweep_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no sweep\.json"):
        write_report(tmp_path)


def test_names_in_the_study_can_not_write_markup(tmp_path):
    objective = ObjectiveRecord("<b>auroc</b>", "maximize", "metric", "auroc", "trees")
    folder = make_sweep(tmp_path / "markup", objectives=(objective,), trials=3, failing=())
    assert "<b>auroc" not in write_report(folder).read_text()


def test_equal_values_and_single_points_can_be_drawn():
    point = report_figures.Point(0, 0.5, report_figures.COMPLETE)
    panel = report_figures.HistoryPanel("A, TUNING CASES", [point], [(0, 0.5)], None, [])
    axis = NumberAxis(1, 1, is_log=False, is_whole=True)
    line = report_figures.ParallelLine([0.5], 0.5, BEST)
    for svg in (
        report_figures.history([panel]),
        report_figures.parallel(["a"], [axis], [line], "A, TUNING CASES"),
        report_figures.slices([report_figures.SlicePanel("a", axis, [(0.5, 0.5, BEST)])], "A, TUNING CASES"),
    ):
        assert "nan" not in svg
        assert "inf" not in svg
