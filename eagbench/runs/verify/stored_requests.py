"""What was asked of the run's stages, by the store, is what the manifest says was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from eagbench.config.benchmark import Benchmark, ComponentSpec
from eagbench.config.settings import AnswerMode
from eagbench.errors import UserError
from eagbench.planning.plan_transfer import domain_name
from eagbench.registry.plugins import load_registry
from eagbench.runs.verify.stage_records import CELL, FINISHED, stages_by_fingerprint
from eagbench.runs.verify.stored_stages import StoreComparison
from eagbench.stages.scored_files import read_values


@dataclass(frozen=True)
class StoredRequests:
    """Compares the requests in a manifest with those that the run's stages recorded.

    Attributes:
        manifest: The run's manifest.
        against: The stages in the store.
    """

    manifest: Mapping[str, Any]
    against: StoreComparison

    def check(self) -> None:
        """Check the cells' methods, conditions and metrics, and the components that the benchmark names."""
        stages = stages_by_fingerprint(self.manifest)
        for cell in self.manifest["cells"]:
            score = cell["score"]
            if score is None or stages[score]["status"] not in FINISHED:
                continue
            what = f"manifest.json: the cell of {cell['method']}"
            self.against.compare(what, [score], partial(self._score_differs, cell))
            predict = stages[score]["inputs"].get("predict", {}).get("stages") or []
            self.against.compare(what, predict, partial(self._predict_differs, cell, predict))
        self._check_components()
        for domain in self.manifest["transfer"]["domains"]:
            self.against.compare("manifest.json: a domain", [domain["split"]], partial(self._domain_differs, domain))

    def _facts(self, fingerprint: str) -> Mapping[str, Any]:
        return self.against.stored.facts[fingerprint]

    def _score_differs(self, cell: Mapping[str, Any]) -> str | None:
        """Say what was scored with other metrics or intervals, or which metrics failed otherwise."""
        params = self._facts(cell["score"])["params"]
        asked = [{"name": m["name"], "params": m["params"]} for m in self.manifest["metrics"]]
        scored = [{"name": use["name"], "params": use["params"]} for use in params["metrics"]]
        if scored != asked or params["intervals"] != self.manifest["intervals"]:
            return "it was scored with other metrics or intervals"
        minimum = self.manifest["subgroups"] or {}
        if any(minimum.get(key) != value for key, value in params.get("subgroups", {}).items()):
            return "it was scored with other smallest subgroups"
        failed = {
            failure["metric"]: failure["reason"]
            for failure in self.manifest["failed"]
            if failure["metric"] is not None and all(failure[key] == cell[key] for key in CELL)
        }
        found = read_values(self.against.stored.folders[cell["score"]])["failed"]
        # Of credentialed data the run folder does not repeat a plugin's words.
        compared = list if self.manifest["access"] == "credentialed" else dict
        return "other metrics failed, or for other reasons" if _is_other(compared(failed), compared(found)) else None

    def _predict_differs(self, cell: Mapping[str, Any], stages: Sequence[str]) -> str | None:
        """Say whether another method, seed or condition was asked."""
        [method] = [m for m in self.manifest["methods"] if m["label"] == cell["method"]]
        key = cell["condition"], cell["severity"]
        [condition] = [c for c in self.manifest["conditions"] if (c["name"], c["severity"]) == key]
        used = {k: v for k, v in (condition["perturbation"] or {}).items() if k not in ("name", "code", "seed")}
        perturbation = condition["perturbation"] and {
            "kind": "perturbation",
            "name": condition["perturbation"].get("name"),
            "params": used,
            "code": condition["perturbation"].get("code"),
        }
        expected = {"severity": cell["severity"], "perturbation": perturbation}
        benchmark = Benchmark.model_validate(self.manifest["benchmark"])
        for fingerprint in stages:
            facts = self._facts(fingerprint)
            component = facts["component"]
            if component["name"] != method["name"] or _is_other(method["params"], component["params"]):
                return "another method was asked, or with other parameters"
            if facts["seed"] != cell["seed"] or expected not in facts["inputs"]["cases"]:
                return "it was asked with another seed, or under another condition"
            answer = facts["params"].get("answer")
            # A stage of an older version lacks what was added since, and was asked for what are the defaults today.
            if answer is not None and AnswerMode.model_validate(answer) != benchmark.answer:
                return "it was asked for another kind of answer"
        if perturbation is not None and condition["perturbation"].get("seed") != benchmark.split.seed:
            return "the condition was drawn by another seed"
        return None

    def _check_components(self) -> None:
        """Check the data sets, policy, reference expert and record text of the benchmark."""
        benchmark = Benchmark.model_validate(self.manifest["benchmark"])
        data = {**benchmark.domains, **({} if benchmark.data is None else {benchmark.data.name: benchmark.data})}
        stamp = domain_name("", "synthetic")
        asked: list[tuple[str, str, ComponentSpec | None]] = [
            ("policy", stage["fingerprint"], benchmark.policy)
            for stage in self.manifest["stages"]
            if stage["kind"] == "policy" and stage["status"] in FINISHED
        ]
        asked += [
            ("expert", stage["fingerprint"], benchmark.reference_expert)
            for stage in self.manifest["stages"]
            if stage["kind"] == "reference_salience" and stage["status"] in FINISHED
        ]
        asked += [
            ("dataset", domain["cohort"], data.get(domain["data"].removesuffix(stamp)))
            for domain in self.manifest["transfer"]["domains"]
        ]
        for kind, fingerprint, spec in asked:
            if spec is not None and not load_registry().has(kind, spec.name):
                self.against.findings.leave_open("components whose plugin is not installed")
                continue
            what = f"manifest.json: the {kind} of the benchmark"
            self.against.compare(what, [fingerprint], partial(self._component_differs, kind, fingerprint, spec))
        text = benchmark.record_text.model_dump(mode="json")
        for stage in self.manifest["stages"]:
            if stage["kind"] == "record_text" and stage["status"] in FINISHED:
                fingerprint = stage["fingerprint"]
                differs = partial(self._text_differs, fingerprint, text)
                self.against.compare("manifest.json: record_text of the benchmark", [fingerprint], differs)

    def _component_differs(self, kind: str, fingerprint: str, spec: ComponentSpec | None) -> str | None:
        component = self._facts(fingerprint)["component"]
        if spec is None or component is None or component["name"] != load_registry().get(kind, spec.name).name:
            return "another one was used"
        try:
            asked = load_registry().params(kind, spec.name, spec.params).model_dump(mode="json")
        except (ValidationError, UserError):
            asked = dict(spec.params)  # a root from a variable that is not set here: what is written there counts
        # What only says where content lies is not among the parameters of the stage: its hash is.
        other = [key for key, value in component["params"].items() if key in asked and _is_other(asked[key], value)]
        return f"it had another {', '.join(other)}" if other else None

    def _text_differs(self, fingerprint: str, expected: Mapping[str, Any]) -> str | None:
        params = self._facts(fingerprint)["params"]
        other = [key for key, value in params.items() if key in expected and expected[key] != value]
        return f"it had another {', '.join(other)}" if other else None

    def _domain_differs(self, domain: Mapping[str, Any]) -> str | None:
        """Say whether a domain holds other cases than its name and the fact that divides the data say."""
        facts = self._facts(domain["split"])
        if facts["kind"] != "domain":
            return None if domain["holds"] == [domain["name"]] == [domain["data"]] else "it is a whole data set"
        expected = sorted(domain_name(value, domain["access"]) for value in facts["params"]["values"])
        named = domain_name(facts["params"]["domain"], domain["access"])
        return None if (domain["holds"], domain["name"]) == (expected, named) else "it holds other cases"


def _is_other(said: Any, stored: Any) -> bool:
    """Say whether a value of the run folder is another than the store's; what is masked there may be anything."""
    if isinstance(said, str) and ("***" in said or "${" in said):
        return False
    if isinstance(said, Mapping) and isinstance(stored, Mapping):
        return said.keys() != stored.keys() or any(_is_other(said[key], stored[key]) for key in said)
    if isinstance(said, list) and isinstance(stored, list):
        return len(said) != len(stored) or any(map(_is_other, said, stored))
    return bool(said != stored)
