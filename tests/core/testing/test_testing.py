"""The conformance classes themselves: there is one for each kind, and each finds what it is there to find."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

import eagbench.testing
from eagbench.registry.plugins import KINDS
from eagbench.testing.component import ComponentConformance

BROKEN = '''
from dataclasses import replace

import numpy as np

from eagbench.api import Generation, MetricTraits, PerturbationTraits, Sampling, SearchResult, StrictParams
from eagbench.testing import (
    ExpertConformance, MetricConformance, PerturbationConformance, PolicyConformance, RewardConformance,
    SearchConformance, TrackerConformance,
)


class Component:
    name = "broken"
    class Params(StrictParams):
        pass
    def __init__(self, params):
        self.params = params


class Expert(Component):
    """Probabilities that depend on the batch and on every column, weights that sum to their number, a drawn model.

    It adds cases to a tuple.
    """
    def fit(self, data, run):
        data.train.cases.items + data.tuning.cases.items
        self.number = np.random.default_rng().random()
    def predict(self, cases):
        return np.full(len(cases), self.number / max(len(cases), 1) / len(cases.features))
    def salience(self, cases):
        return np.ones((len(cases), len(cases.features)))
    def save(self, folder):
        (folder / "model.pkl").write_bytes(b"")
    @classmethod
    def load(cls, params, folder):
        expert = cls(params)
        expert.number = 0.5
        return expert


class Perturbation(Component):
    """Shifts by a drawn amount, even at severity 0, and less the more it should, and knows cases by identity."""
    traits = PerturbationTraits(applies_to=frozenset({"columns"}), levels=(0.1, 0.2, 0.3, 0.4, 0.5))
    def check_severity(self, severity):
        pass
    def fit(self, cases):
        assert cases[0] is cases.items[0] and len({id(case) for case in cases.items[:9]} & {*map(id, cases)}) == 9
    def apply(self, case, severity, seed):
        values = case.values.copy()
        rows = len(values) - int(2 * severity * len(values))
        values[:rows] += np.random.default_rng().random()
        return replace(case, case_id=case.case_id + "*", values=values)


class Reward(Component):
    """Pays for what can't be read as for a bad answer, and for its length; expects a weight of every feature."""
    def __call__(self, case, label, trajectory, salience):
        sum(salience[name] for name in case.features)
        return {"total": -float(trajectory.generated_tokens) if trajectory.probability is not None else -9.0}


class Search(Component):
    """Writes a text more than the budget allows, worst first, uncounted; expects weights of all features."""
    def run(self, model, tasks, read, token_budget, seed):
        results = []
        for task in tasks:
            sum(task.salience[name] for name in task.case.features)
            texts = [model.generate([task.prompt], Sampling(token_budget, 1.0), seed + i)[0] for i in range(9)]
            found = sorted((read(task.case, t.text, t.tokens) for t in texts), key=lambda t: task.reward(t)["total"])
            rewards = tuple(task.reward(t) for t in found)
            results.append(SearchResult(task.case.case_id, tuple(found), rewards, texts[0].tokens))
        return results


class Metric(Component):
    """Leaves weights out and is 0 where nothing is defined."""
    traits = MetricTraits(better="higher")
    def __call__(self, scored, weights):
        return np.full(len(weights), scored.probability.mean() if len(scored.label) else 0.0)


class Model:
    def __init__(self):
        self.calls = 0
    def generate(self, prompts, sampling, seed, written=None):
        self.calls += 1
        text = f"text {self.calls} of {len(prompts)} and more than the bound"
        return [Generation(before + text, 99) for before in written or [""] * len(prompts)]
    def continuation_probabilities(self, prompts, written, candidates):
        return np.ones((len(prompts), len(candidates)))


class Policy(Component):
    """Writes another text every time, beyond its bound, and repeats what was written."""
    def content(self):
        return None
    def prepare(self, cases, record_text, run):
        (run.out / "first.txt").write_text(str(isinstance(cases.items, tuple)))
    def open(self, folder):
        return Model()


class Tracker(Component):
    """Writes to wherever it is, and changes what it is told."""
    def start(self, run_name, folder):
        pass
    def log(self, stage, step, values):
        values.clear()
    def finish(self):
        open("log.txt", "w").close()


class TestExpert(ExpertConformance):
    component = Expert
class TestPerturbation(PerturbationConformance):
    component = Perturbation
class TestReward(RewardConformance):
    component = Reward
class TestSearch(SearchConformance):
    component = Search
class TestMetric(MetricConformance):
    component = Metric
class TestPolicy(PolicyConformance):
    component = Policy
class TestTracker(TrackerConformance):
    component = Tracker
'''

FOUND: Mapping[str, set[str]] = {
    "TestExpert": {
        "test_probability_and_salience",
        "test_odd_empty_and_single_batches",
        "test_a_case_is_answered_alike_alone_and_among_others",
        "test_a_feature_that_training_did_not_have_is_passed_over",
        "test_the_same_seed_gives_the_same_expert",
        "test_cases_of_a_large_cohort_do_as_well",
        "test_saved_and_loaded_it_answers_the_same",
    },
    "TestPerturbation": {
        "test_levels_rise_and_are_permitted",
        "test_severity_zero_changes_nothing",
        "test_a_higher_severity_changes_at_least_what_a_lower_one_does",
        "test_the_same_seed_gives_the_same_change",
        "test_cases_of_a_large_cohort_do_as_well",
        "test_input_and_ids_are_left_alone",
    },
    "TestReward": {
        "test_an_unparsed_answer_gets_less_than_the_worst_parsed_one",
        "test_the_case_may_hold_features_that_the_expert_does_not_read",
    },
    "TestSearch": {
        "test_one_result_per_case_best_first",
        "test_no_more_tokens_than_the_budget[100]",
        "test_a_case_may_hold_features_that_the_expert_does_not_read",
    },
    "TestMetric": {
        "test_a_doubled_weight_is_a_duplicated_case",
        "test_nothing_is_undefined_and_nothing_else_fails",
        "test_only_a_metric_that_says_so_reads_probabilities",
    },
    "TestPolicy": {
        "test_the_same_seed_gives_the_same_texts_alone_and_among_others[greedy]",
        "test_what_was_written_is_continued_and_not_repeated",
        "test_cases_of_a_large_cohort_do_as_well",
        "test_candidates_have_a_distribution",
    },
    "TestTracker": {"test_hears_of_stages_and_is_taken_up_again"},
}


def test_every_kind_has_its_class() -> None:
    classes = [getattr(eagbench.testing, name) for name in eagbench.testing.__all__]
    kinds = [c.kind for c in classes if isinstance(c, type) and issubclass(c, ComponentConformance)]
    assert sorted(kinds) == sorted(KINDS)


def test_the_core_does_without_it() -> None:
    """It needs pytest, which users do not have."""
    code = "import sys; sys.modules['pytest'] = None; import eagbench.api, eagbench.cli.commands, eagbench.cli.main"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """(class, test) of all that failed for the broken components."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "test_broken.py").write_text(BROKEN)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfE", "--tb=no", "test_broken.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    ids = [line.split()[1].split("::") for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return {(kind, test) for _, kind, test in ids}


@pytest.mark.parametrize("kind", FOUND)
def test_what_is_broken_is_found(kind: str, failures: set[tuple[str, str]]) -> None:
    assert {test for found, test in failures if found == kind} >= FOUND[kind]
