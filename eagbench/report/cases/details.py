"""What the page shows of single cases, as JSON values: held-out cases with their answers, training cases with trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eagbench.analysis.cells import CLEAN_KEY, ConditionKey
from eagbench.contracts.records import Case, Cases
from eagbench.report.cases.packing import Texts, packed_record, short
from eagbench.runs.cases.answers import SettingCases, answer_table, rows_by_case, written_texts
from eagbench.runs.cases.past_stages import MissingStageError
from eagbench.runs.cases.records import CaseRecords, record_changes
from eagbench.runs.cases.training import Search, SearchedCase
from eagbench.runs.predictions import has_predictions
from eagbench.runs.reader import RunFolder

# So many changed values are shown of a record under a perturbation; `eagbench show --condition` prints more.
SHOWN_CHANGES = 16
_KEPT = ("seed", "probability", "parsed", "answer_mode", "recalibrated", "prior_corrected")


@dataclass(eq=False)
class SettingDetails:
    """Reads the details of a setting's cases, each file and stage once.

    Attributes:
        run: The run.
        cases: The setting's cases.
        records: The records behind them.
        conditions: The page's conditions, unchanged records first.
        missing: What can't be shown because the store lacks it, in words; filled in as it is noticed.
    """

    run: RunFolder
    cases: SettingCases
    records: CaseRecords
    conditions: Sequence[ConditionKey]
    missing: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._folds = sorted(set(self.cases.fold.tolist()))
        self.features, clean = self._read(CLEAN_KEY)
        self._clean = clean
        self._changes = self._read_changes()
        methods = [m for m in self.cases.methods if has_predictions(self.run.path, m)]
        self._tables = {m: answer_table(self.run.path, m, self.cases.setting, CLEAN_KEY) for m in methods}
        self._texts = {m: written_texts(self.run.path, m, self.cases.setting, CLEAN_KEY) for m in methods}

    def _read(self, condition: ConditionKey, features: Cases | None = None) -> tuple[Cases | None, dict[str, Case]]:
        """Read all folds' records under a condition; what the store lacks is noted."""
        found: dict[str, Case] = {}
        for fold in self._folds:
            try:
                cases = self.records.cases(self.cases.setting, condition, fold)
            except MissingStageError as error:
                self.missing[f"records, {condition[0]}: {error}"] = None
                continue
            features = features or cases
            found |= {case.case_id: case for case in cases}
        return features, found

    def _read_changes(self) -> dict[str, dict[int, Any]]:
        """Summarise what each condition changed in each record, condition by condition to spare memory."""
        found: dict[str, dict[int, Any]] = {}
        wanted = set(self.cases.case_id)
        for k, condition in enumerate(self.conditions):
            if condition not in self.cases.conditions or condition == CLEAN_KEY or not self._clean:
                continue
            for case_id, case in self._read(condition)[1].items():
                if case_id in wanted and case_id in self._clean:
                    found.setdefault(case_id, {})[k] = self._change(self._clean[case_id], case)
        return found

    def _change(self, clean: Case, case: Case) -> list[Any]:
        changes = record_changes(clean, case, SHOWN_CHANGES)
        shown = [
            [self.places[c.feature], round(c.time, 2), *(None if v is None else short(v) for v in (c.before, c.after))]
            for c in changes.values
        ]
        return [list(changes.summary), shown, changes.n_values]

    @property
    def places(self) -> dict[str, int]:
        """The position of each feature in the page's list."""
        return {} if self.features is None else {name: i for i, name in enumerate(self.features.feature_names)}

    def of(self, positions: Sequence[int]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the details of some cases, and the parts of their prompts."""
        ids = [self.cases.case_id[i] for i in positions]
        rows = {method: rows_by_case(table, ids) for method, table in self._tables.items()}
        texts = Texts()
        asked = [method for method in self.records.text_methods if method in self._tables]
        prompts = {method: self._prompts(method, positions, texts) for method in asked}
        details = []
        for i, case_id in zip(positions, ids, strict=True):
            case = self._clean.get(case_id)
            details.append(
                {
                    "record": None if case is None else packed_record(case, self.places),
                    "changes": self._changes.get(case_id, {}),
                    "expert": _expert(rows, case_id),
                    "answers": {m: self._answers(m, found.get(case_id, [])) for m, found in rows.items()},
                    "prompts": {m: found[i] for m, found in prompts.items() if i in found},
                }
            )
        return details, texts.parts

    def _prompts(self, method: str, positions: Sequence[int], texts: Texts) -> dict[int, list[int]]:
        found: dict[int, str] = {}
        for i in positions:
            fold, case_id = int(self.cases.fold[i]), self.cases.case_id[i]
            try:
                prompt = self.records.prompt(self.cases.setting, CLEAN_KEY, fold, method, case_id)
            except MissingStageError as error:
                self.missing[f"prompts of {method}: {error}"] = None
                continue
            if prompt is not None:
                found[i] = prompt[0]
                if prompt[1]:
                    self.missing[f"prompts of {method}: {prompt[1]}"] = None
        return dict(zip(found, texts.add(list(found.values())), strict=True))

    def _answers(self, method: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        answers = []
        for row in rows:
            kept = {key: short(v) if isinstance(v := row[key], float) else v for key in _KEPT if row[key] is not None}
            texts = [
                {key: text[key] for key in ("steps", "text", "thought", "probability") if text.get(key) is not None}
                for text in self._texts[method].get(row["case_id"], [])
                if str(text["seed"]) == str(row["seed"])
            ]
            attention = row["attention"]
            answers.append(
                kept
                | ({"texts": texts} if texts else {})
                | ({} if row["cited_features"] is None else {"cited": row["cited_features"]})
                | ({} if attention is None else {"attention": {n: short(v, 3) for n, v in dict(attention).items()}})
            )
        return answers


def _expert(rows: Mapping[str, Mapping[str, list[dict[str, Any]]]], case_id: str) -> dict[str, Any]:
    """Return the reference expert's top features and weights by seed: the same for every method that has them."""
    found: dict[str, Any] = {}
    for of_method in rows.values():
        for row in of_method.get(case_id, []):
            if row["teacher_features"] is None or found.get(str(row["seed"]), {}).get("salience"):
                continue
            salience = {name: short(v, 3) for name, v in dict(row["teacher_salience"] or ()).items()}
            found[str(row["seed"])] = {"top": row["teacher_features"], "salience": salience}
    return found


def searched_details(search: Search, cases: Sequence[SearchedCase]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the page shows of searched training cases, and the parts of their prompts.

    Args:
        search: The search.
        cases: Some of its cases.
    """
    records = {case.case_id: case for case in search.records}
    places = {name: i for i, name in enumerate(search.records.feature_names)}
    prompts = {case.case_id: search.prompt(case.case_id) for case in cases}
    texts = Texts()
    written = {case_id: prompt for case_id, prompt in prompts.items() if prompt is not None}
    parts = dict(zip(written, texts.add(list(written.values())), strict=True))
    details = [
        {
            "record": packed_record(records[case.case_id], places),
            "salience": {n: short(v, 3) for n, v in search.salience.get(case.case_id, {}).items() if v},
            "prompt": parts.get(case.case_id),
            "trajectories": [
                {key: trajectory[key] for key in ("probability", "steps", "text", "cited_features", "reward")}
                for trajectory in case.trajectories
            ],
            "tree": [_node(node) for node in case.tree],
        }
        for case in cases
    ]
    return details, texts.parts


def _node(node: Mapping[str, Any]) -> list[Any]:
    numbers = [None if node.get(key) is None else short(node[key], 4) for key in ("mean", "best")]
    return [node.get("parent"), str(node.get("text", "")), int(node.get("visits", 0)), *numbers]
