"""Stages, cells, failures, log and costs tell the same story: what was computed, what failed, and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eagbench.runs.schema import ASKED_COLUMNS, COST_COLUMNS, COUNTED_COLUMNS
from eagbench.runs.verify.findings import DamagedError, Findings
from eagbench.runs.verify.table_files import read_csv, read_json_lines, read_text

FINISHED = ("computed", "reused")
_NAMED = ("kind", "label", "seed", "status")
CELL = ("method", "seed", "condition", "severity", "domain_train", "domain_eval")


def stages_by_fingerprint(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the record of each stage."""
    return {stage["fingerprint"]: stage for stage in manifest["stages"]}


def check_grid(manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that names refer to what there is, and that every cell of the grid has a record, in order."""
    problems = list(_unknown(manifest))
    methods = {method["label"]: method["reads"] for method in manifest["methods"]}
    grid = _grid(manifest)
    found = [tuple(cell[key] for key in CELL) for cell in manifest["cells"]]
    if found != grid:
        problems.append(f"{len(found)} cells are recorded, which are not the {len(grid)} of the grid in its order")
    applies = {(c["name"], c["severity"]): c["applies_to"] for c in manifest["conditions"]}
    stages = stages_by_fingerprint(manifest)
    scores = [cell["score"] for cell in manifest["cells"] if cell["score"] is not None]
    for cell in manifest["cells"]:
        condition = cell["condition"], cell["severity"]
        if condition in applies and (cell["score"] is None) == (methods.get(cell["method"]) in applies[condition]):
            problems.append(f"{cell_words(cell)} has no stage `score`, or one that its condition forbids")
        score = cell["score"]
        if score is not None and stages.get(score, {}).get("kind") != "score":
            problems.append(f"{cell_words(cell)} names a stage `score` that is not among the stages")
        findings.count("cells of the grid with their stages")
    kinds = {stage["kind"] for stage in manifest["stages"]}
    listed = {stage["fingerprint"] for stage in manifest["stages"] if stage["kind"] == "score"}
    if listed - {*scores}:
        problems.append("there are stages `score` of no cell")
    if not {"cohort", "split"} <= kinds:
        problems.append("there is no stage `cohort` or no stage `split`")
    findings.problems += [f"manifest.json: {problem}" for problem in problems]


def _grid(manifest: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    pairs = [tuple(pair) for pair in manifest["transfer"]["pairs"]]
    return [
        (method["label"], seed, condition["name"], condition["severity"], train, target)
        for method in manifest["methods"]
        for seed in manifest["seeds"]
        for trained in dict.fromkeys(train for train, _ in pairs)
        for train, target in pairs
        if train == trained
        for condition in manifest["conditions"]
    ]


def _unknown(manifest: Mapping[str, Any]) -> list[str]:
    """List names that occur twice, or that refer to nothing."""
    transfer = manifest["transfer"]
    domains = [domain["name"] for domain in transfer["domains"]]
    stages = [stage["fingerprint"] for stage in manifest["stages"]]
    data = list(manifest["data"])
    folds = manifest["split"].get("folds") or 1
    places = [(d, fold, part) for d in domains for fold in range(folds) for part in ("train", "tuning", "held_out")]
    found = [(p["domain"], p["fold"], p["part"]) for p in manifest["parts"]]
    labels = {method["label"] for method in manifest["methods"]}
    refers = [
        ("a domain's data", data, [domain["data"] for domain in transfer["domains"]]),
        ("the domain of a pair", domains, [name for pair in transfer["pairs"] for name in pair]),
        ("the stage of a domain", stages, [d[key] for d in transfer["domains"] for key in ("cohort", "split")]),
        ("the stage of a reference", stages, [reference["stage"] for reference in manifest["references"]]),
        ("the domain of a reference", domains, [reference["domain"] for reference in manifest["references"]]),
        ("the method of a recalibration", labels, [curve["method"] for curve in manifest["recalibration"]]),
        *(
            (f"an input of stage {stage['kind']} {stage['label']}", stages, _inputs(stage))
            for stage in manifest["stages"]
        ),
    ]
    problems = [
        f"{what} is '{name}', which is not there"
        for what, known, names in refers
        for name in names
        if name not in known
    ]
    for what, names in (
        ("stage", stages),
        ("domain", domains),
        ("pair", [" to ".join(pair) for pair in transfer["pairs"]]),
        ("method", [method["label"] for method in manifest["methods"]]),
        ("reference", [f"{r['name']} of {r['domain']}" for r in manifest["references"]]),
    ):
        doubled = sorted({name for name in names if names.count(name) > 1})
        problems += [f"the {what} {name} is there twice" for name in doubled]
    if sorted(found) != sorted(places):
        problems.append("parts are not three for each domain and fold")
    evaluated = list(dict.fromkeys(target for _, target in transfer["pairs"]))
    listed = [(reference["domain"], reference["name"]) for reference in manifest["references"]]
    if any(domain not in evaluated for domain, _ in listed) or listed != sorted(
        listed, key=lambda reference: (evaluated.index(reference[0]), reference[1])
    ):
        problems.append("references are not those of evaluated domains in their order")
    kind_of = {stage["fingerprint"]: stage["kind"] for stage in manifest["stages"]}
    problems += [
        f"the domain {domain['name']} is a whole data set and holds others"
        for domain in transfer["domains"]
        if kind_of.get(domain["split"]) == "split" and domain["holds"] != [domain["name"]]
    ]
    taken = labels & {reference["name"] for reference in manifest["references"]}
    return problems + [f"{name} is both a method and a reference" for name in sorted(taken)]


def _inputs(stage: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for shown in stage["inputs"].values():
        names += shown.get("stages") or ()
        names += [shown["split"]] if shown.get("split") is not None else []
    return names


def check_stages(manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that a stage after a failed one was left out, and that the failed cells are those of failed stages."""
    stages = stages_by_fingerprint(manifest)
    place = {fingerprint: i for i, fingerprint in enumerate(stages)}
    for fingerprint, stage in stages.items():
        name = f"manifest.json: stage {stage['kind']} {stage['label']}"
        before = [stages[upstream] for upstream in _inputs(stage)]
        if any(place[one["fingerprint"]] >= place[fingerprint] for one in before):
            findings.problems.append(f"{name} stands before one that it needs")
        lost = any(one["status"] in {"failed", "skipped"} for one in before)
        if lost and stage["status"] in {"computed", "failed"}:
            findings.problems.append(f"{name} is {stage['status']}, though a stage that it needs was not finished")
        if stage["status"] == "skipped" and not lost:
            findings.problems.append(f"{name} is skipped, though every stage that it needs was finished")
        findings.count("stages in order")


def check_log(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that log.jsonl and costs.csv tell of every stage what the manifest tells, and why a cell failed.

    Raises:
        DamagedError: One of the two can't be read.
    """
    log = read_json_lines(folder / "log.jsonl")
    stages = stages_by_fingerprint(manifest)
    told = {str(entry["stage"]): entry for entry in log if isinstance(entry.get("stage"), str)}
    if len(told) != len(log) or told.keys() != stages.keys():
        findings.problems.append(
            f"log.jsonl tells of {len(told)} stages in {len(log)} lines, the run had {len(stages)}"
        )
        return
    seen: set[str] = set()
    for entry in log:
        stage = stages[entry["stage"]]
        name = f"stage {stage['kind']} {stage['label']}"
        other = [key for key in _NAMED if entry.get(key) != stage[key]]
        if other:
            findings.problems.append(f"log.jsonl: {name} has another {', '.join(other)} than in the manifest")
        if stage["status"] != "skipped" and not {*_inputs(stage)} <= seen:
            findings.problems.append(f"log.jsonl: {name} was done before a stage that it needs")
        if not isinstance(entry.get("time"), str) or not _is_amount(entry.get("seconds")):
            findings.problems.append(f"log.jsonl: {name} has no time or no seconds")
        elif entry["seconds"] and stage["status"] not in {"computed", "failed"}:
            findings.problems.append(f"log.jsonl: {name} took {entry['seconds']} s, though nothing was computed")
        if (stage["status"] == "failed") != bool(entry.get("traceback")) or (
            stage["status"] in {"failed", "skipped"}
        ) != bool(entry.get("reason")):
            findings.problems.append(
                f"log.jsonl: {name} is {stage['status']}, and has a reason or traceback or lacks it"
            )
        seen.add(entry["stage"])
        findings.count("lines of the log")
    _check_failed(manifest, told, findings)
    _check_costs(folder, manifest, told, findings)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _check_failed(manifest: Mapping[str, Any], told: Mapping[str, Any], findings: Findings) -> None:
    """Check the list of failed cells against the stages that failed."""
    stages = stages_by_fingerprint(manifest)
    expected = []
    for cell in manifest["cells"]:
        if cell["score"] is None or stages[cell["score"]]["status"] in FINISHED:
            continue
        cause = _cause(stages[cell["score"]], stages)
        reason = told[cause["fingerprint"]].get("reason")
        keys = {key: cell[key] for key in CELL}
        expected.append({**keys, "metric": None, "stage": f"{cause['kind']} {cause['label']}", "reason": reason})
    found = [failure for failure in manifest["failed"] if failure["metric"] is None]
    if found != expected:
        findings.problems.append(
            f"manifest.json: {len(found)} cells are listed as failed, by stages and log {len(expected)} are"
            + (", for other reasons" if len(found) == len(expected) else "")
        )
    findings.count("failed cells with their stage", len(expected))


def _cause(stage: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if stage["status"] == "skipped":
        for upstream in _inputs(stage):
            if stages[upstream]["status"] in {"failed", "skipped"}:
                return _cause(stages[upstream], stages)
    return stage


def _check_costs(folder: Path, manifest: Mapping[str, Any], told: Mapping[str, Any], findings: Findings) -> None:
    path = folder / "costs.csv"
    rows = read_csv(path, cost_columns(path))
    if [row["stage"] for row in rows] != [stage["fingerprint"] for stage in manifest["stages"]]:
        findings.problems.append("costs.csv does not hold the run's stages, one row each in their order")
        return
    for row, stage in zip(rows, manifest["stages"], strict=True):
        name = f"costs.csv: stage {stage['kind']} {stage['label']}"
        for key in _NAMED:
            if row[key] != ("" if stage[key] is None else str(stage[key])):
                findings.problems.append(f"{name}: {key} is {row[key]!r}, in the manifest {stage[key]!r}")
        amounts = [c for c in row if c not in ("stage", *_NAMED)]
        if any(not _is_number(row[c]) for c in amounts if not (c == "peak_memory_mb" and row[c] == "")):
            findings.problems.append(f"{name}: an amount is no number, or less than 0")
        elif stage["status"] not in FINISHED and any(row[c] not in ("", "0") for c in amounts if c != "seconds"):
            findings.problems.append(f"{name}: it was not finished, and has costs")
        elif stage["status"] != "reused" and float(row["seconds"]) != told[stage["fingerprint"]].get("seconds"):
            findings.problems.append(f"{name}: it took {row['seconds']} s, by the log another time")
        findings.count("costs of stages")


def cost_columns(path: Path) -> tuple[str, ...]:
    """Return the columns of a table of costs: some are there only where something was counted.

    Raises:
        DamagedError: It can't be read.
    """
    try:
        header = next(csv.reader(io.StringIO(read_text(path), newline=""), strict=True), [])
    except csv.Error as error:
        raise DamagedError(f"{path.name} is not CSV: {error}") from error
    return (*COST_COLUMNS, *ASKED_COLUMNS, *(name for name in COUNTED_COLUMNS if name in header))


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False


def cell_words(cell: Mapping[str, Any]) -> str:
    """Name a cell in words."""
    severity = "" if cell["severity"] is None else f" {cell['severity']:g}"
    return (
        f"{cell['method']}, seed {cell['seed']}, {cell['condition']}{severity}, "
        f"{cell['domain_train']} to {cell['domain_eval']}"
    )


def scored_cells(manifest: Mapping[str, Any], method: str) -> Sequence[Mapping[str, Any]]:
    """Return the cells of a method that were scored, in the grid's order."""
    stages = stages_by_fingerprint(manifest)
    return [
        cell
        for cell in manifest["cells"]
        if cell["method"] == method and cell["score"] is not None and stages[cell["score"]]["status"] in FINISHED
    ]
