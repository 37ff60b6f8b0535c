"""The answers of a run folder: whose they are, about which cases, and what stands in for those that were not read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.run_tables import MEAN_SEED
from eagbench.runs.predictions import Place, Rows, by_place, keyed_schema, predictions_path
from eagbench.runs.schema import TUNING_PREDICTIONS
from eagbench.runs.verify.findings import TOLERANCE, DamagedError, Findings
from eagbench.runs.verify.patients import Parts
from eagbench.runs.verify.recalibration import CurveKey, check_recalibrated
from eagbench.runs.verify.stage_records import scored_cells
from eagbench.runs.verify.table_files import read_table
from eagbench.runs.verify.written import check_written
from eagbench.stats.recalibration import Recalibration

_MAY_BE_MISSING = (
    "severity", "prior_corrected", "recalibrated", "cited_features", "teacher_features", "constant_features",
    "attention", "teacher_salience",
)  # fmt: skip
_CORRECTED = ("prior_corrected", "recalibrated")


@dataclass(eq=False)
class CheckedAnswers:
    """Reads the answers of a method (or of a reference), once, and checks them.

    Attributes:
        manifest: The run's manifest.
        parts: Who was in which part.
        findings: What was found.
        curves: The recalibrations, fitted again.
        labels: The label of each case that has an answer, by domain and case id; filled as methods are read.
    """

    manifest: Mapping[str, Any]
    parts: Parts
    findings: Findings
    curves: Mapping[CurveKey, Recalibration] = field(default_factory=dict)
    labels: dict[tuple[str, str], int] = field(default_factory=dict)

    def __call__(self, folder: Path, method: str) -> dict[Place, dict[str, Rows]]:
        """Read a file of answers.

        Raises:
            DamagedError: It is no such file, or not about the cases and cells that it should be about.
        """
        metrics = [MetricUse.recorded(record) for record in self.manifest["metrics"]]
        path = predictions_path(folder, method)
        schema = keyed_schema(metrics)
        extras = schema.names[schema.names.index("teacher_salience") + 1 :]
        table = read_table(path, schema, (*_MAY_BE_MISSING, *extras))
        self._check_keys(path.name, table, method)
        found = by_place(table)
        for seeds in found.values():
            for rows in seeds.values():
                self._check_rows(path.name, rows)
                check_recalibrated(path.name, rows, self.curves, self.findings)
        if any(method == known["label"] for known in self.manifest["methods"]):
            check_written(folder, method, found, self.manifest, self.findings)
        return found

    def learn(self, tuning: Rows) -> None:
        """Note the labels of tuning cases.

        Raises:
            DamagedError: A case has two labels.
        """
        for row in tuning:
            if self.labels.setdefault((row["domain_train"], row["case_id"]), row["label"]) != row["label"]:
                raise DamagedError(
                    f"{TUNING_PREDICTIONS}: case {row['case_id']} has another label elsewhere in the run"
                )

    def _check_keys(self, name: str, table: pa.Table, method: str) -> None:
        """Check that the file holds every case of every cell, once and in order."""
        expected = _expected_keys(self.manifest, self.parts, method)
        found = {column: table[column].to_pylist() for column in expected}
        if table.num_rows != len(expected["case_id"]):
            raise DamagedError(f"{name} has {table.num_rows} answers, expected {len(expected['case_id'])}")
        for column, values in expected.items():
            for i, (one, other) in enumerate(zip(found[column], values, strict=True)):
                if one != other:
                    raise DamagedError(f"{name}, row {i}: {column} is {one!r}, expected {other!r}")
        self.findings.count("answers about the held-out cases", table.num_rows)

    def _check_rows(self, name: str, rows: Rows) -> None:
        """Check the answers of one seed and place: values, labels, and what stands in for answers that weren't read."""
        domain, train = rows[0]["domain_eval"], rows[0]["domain_train"]
        for row in rows:
            where = f"{name}: case {row['case_id']}"
            numbers = [row[c] for c in ("probability", *_CORRECTED) if row[c] is not None]
            if any(not 0 <= number <= 1 for number in numbers) or row["label"] not in (0, 1):
                raise DamagedError(f"{where} has a probability or label out of range")
            if self.labels.setdefault((domain, row["case_id"]), row["label"]) != row["label"]:
                raise DamagedError(f"{where} has another label elsewhere in the run")
        prevalence = _training_prevalence(self.manifest, train)
        unread = [row for row in rows if not row["parsed"]]
        for row in unread:
            stands_in = prevalence[row["fold"]]
            if any(row[c] is not None and abs(row[c] - stands_in) > TOLERANCE for c in ("probability", *_CORRECTED)):
                self.findings.problems.append(
                    f"{name}: case {row['case_id']} was not read and is scored otherwise than with the training "
                    f"prevalence, {stands_in:g}"
                )
        for column in _CORRECTED:
            if len({row[column] is None for row in rows}) > 1:
                self.findings.problems.append(
                    f"{name}: {column} is there for some answers of a cell and not for others"
                )
        self.findings.count("unread answers with the training prevalence", len(unread))


def _expected_keys(manifest: Mapping[str, Any], parts: Parts, method: str) -> dict[str, list[Any]]:
    """Return the keys of every answer that a method's (or a reference's) file must hold, by column."""
    tasks = {d["name"]: manifest["data"][d["data"]]["task"]["name"] for d in manifest["transfer"]["domains"]}
    split = "out_of_fold" if manifest["split"].get("folds") else "held_out"
    cells: Sequence[Mapping[str, Any]] = scored_cells(manifest, method)
    if not any(method == known["label"] for known in manifest["methods"]):
        cells = [
            {"domain_train": r["domain"], "domain_eval": r["domain"], "seed": MEAN_SEED, "condition": "clean"}
            | {"severity": None}
            for r in manifest["references"]
            if r["name"] == method
        ]
    columns = ("benchmark", "task", "domain_train", "domain_eval", "split", "method", "seed", "condition", "severity")
    found: dict[str, list[Any]] = {name: [] for name in (*columns, "case_id", "patient_id", "fold")}
    for cell in cells:
        cases = parts.held_out.get(cell["domain_eval"], [])
        keys = {
            "benchmark": manifest["name"],
            "task": tasks[cell["domain_eval"]],
            "split": split,
            "method": method,
            **{key: cell[key] for key in ("domain_train", "domain_eval", "condition", "severity")},
            "seed": str(cell["seed"]),
        }
        for column in columns:
            found[column] += [keys[column]] * len(cases)
        for column, values in zip(("case_id", "patient_id", "fold"), zip(*cases, strict=True), strict=False):
            found[column] += values
    return found


def _training_prevalence(manifest: Mapping[str, Any], domain: str) -> dict[int, float]:
    return {
        part["fold"]: part["n_positive"] / max(part["n_cases"], 1)
        for part in manifest["parts"]
        if (part["domain"], part["part"]) == (domain, "train")
    }


def check_counts(answers: CheckedAnswers, known_splits: Collection[str], findings: Findings) -> None:
    """Check the events that the manifest counts in each part, as far as answers tell the labels of its cases.

    Args:
        answers: The answers, all of them read.
        known_splits: The stages that divided patients and that the store holds: it tells the events of their parts.
        findings: What was found.
    """
    split_of = {domain["name"]: domain["split"] for domain in answers.manifest["transfer"]["domains"]}
    manifest, labels = answers.manifest, answers.labels
    for part in manifest["parts"]:
        cases = answers.parts.cases(part)
        where = f"{part['domain']}, fold {part['fold']}, {part['part']}"
        known = [labels[part["domain"], case] for case in cases if (part["domain"], case) in labels]
        if len(known) < len(cases) or not cases:
            if split_of[part["domain"]] not in known_splits:
                findings.leave_open("parts whose events only the store tells")
            continue
        if sum(known) != part["n_positive"]:
            findings.problems.append(
                f"manifest.json: {where} has {part['n_positive']} events, by the answers {sum(known)}"
            )
        findings.count("parts with their events")
