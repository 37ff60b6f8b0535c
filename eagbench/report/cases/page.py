"""Write the page of cases beside the report: `cases.html`, an index, and scripts that it loads when they are wanted.

A page from a file can't fetch, but it can load scripts. `cases/index.js` holds what the list needs, at most 2 MB;
`cases/condition-*.js` the answers under one perturbation; `cases/held_out-*.js` and `cases/searched-*.js` the details
of some cases each.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from eagbench.analysis.cells import CLEAN_KEY, ConditionKey
from eagbench.contracts.records import Cases
from eagbench.errors import UserError
from eagbench.execution.whole_files import replace_text
from eagbench.report import wording
from eagbench.report.cases.details import SettingDetails, searched_details
from eagbench.report.cases.packing import packed, script
from eagbench.report.cases.selection import main_method
from eagbench.report.page.script import THEME, inline_script
from eagbench.runs.cases.answers import THRESHOLD, MethodAnswers, SettingCases, read_settings
from eagbench.runs.cases.past_stages import MissingStageError
from eagbench.runs.cases.records import CaseRecords
from eagbench.runs.cases.training import Search, searches
from eagbench.runs.folder import CASE_SCRIPTS, CASES
from eagbench.runs.reader import RunFolder

# A longer index opens slowly from a file. With very long ids fewer cases fit.
MOST_BYTES = 2_000_000
# Of a larger setting the page has the cases that the run's main method predicted worst.
MOST_CASES = 5_000
_PER_SHARD = 25


def write_case_page(run: RunFolder, store: Path) -> Path:
    """Write the page of a run's cases beside its report.

    Args:
        run: The run.
        store: The store's folder; what it lacks is named on the page.

    Returns:
        The page's path.

    Raises:
        UserError: The run folder holds no answers to single cases.
    """
    settings = [_worst(run, cases, MOST_CASES) for cases in read_settings(run)]
    scripts = run.path / CASE_SCRIPTS
    shutil.rmtree(scripts, ignore_errors=True)
    scripts.mkdir()
    records = CaseRecords(run.manifest, store)
    missing: list[str] = []
    features = []
    most = max(map(len, settings))
    while len(script("", *(_listed(cases) for cases in settings))) > MOST_BYTES * 0.9:
        most = int(most * 0.8)
        settings = [_worst(run, cases, most) for cases in settings]
    conditions = list(dict.fromkeys([CLEAN_KEY, *(key for cases in settings for key in cases.conditions)]))
    for s, cases in enumerate(settings):
        details = SettingDetails(run, cases, records, conditions)
        _write_shards(scripts, f"held_out-{s}", range(len(cases)), details.of)
        features.append(_features(details.features))
        missing += details.missing
    for k, condition in enumerate(conditions):
        if k:
            answers = [_answers(cases, condition) for cases in settings]
            replace_text(scripts / f"condition-{k}.js", script("cases.condition", k, answers))
    missing += records.notes
    found, lacking = searches(records.stages)
    missing += [f"training cases: {what}" for what in lacking]
    training = [_write_search(scripts, t, search, missing) for t, search in enumerate(found)]
    index = {
        **_about(run, records, conditions, missing),
        "settings": [
            _listed(cases) | {"features": named, "n": _n_all(run, cases)}
            for cases, named in zip(settings, features, strict=True)
        ],
        "searches": [listed for listed in training if listed is not None],
    }
    text = script("cases.index", index)
    if len(text) > MOST_BYTES:
        raise UserError("the list of cases is too long for a page", where=str(run.path), hint="use `eagbench show`")
    replace_text(scripts / "index.js", text)
    return _write_html(run)


def _about(
    run: RunFolder, records: CaseRecords, conditions: Sequence[ConditionKey], missing: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": run.manifest["name"],
        "main": main_method(run),
        "threshold": THRESHOLD,
        "perShard": _PER_SHARD,
        "conditions": [wording.condition_label(*key) for key in conditions],
        "textMethods": list(records.text_methods),
        "missing": list(missing),
    }


def _worst(run: RunFolder, cases: SettingCases, most: int) -> SettingCases:
    """Keep the cases that the main method, or the first with answers, predicted worst, unread answers before all."""
    if len(cases) <= most:
        return cases
    name = main_method(run)
    answers = cases.answers.get((name, CLEAN_KEY)) or next(iter(cases.answers.values()))
    error = np.nan_to_num(answers.error(cases.label), nan=2.0)
    kept = np.sort(np.argsort(-error, kind="stable")[:most])
    ids = tuple(cases.case_id[i] for i in kept)
    return replace(
        cases,
        case_id=ids,
        patient_id=tuple(cases.patient_id[i] for i in kept),
        label=cases.label[kept],
        fold=cases.fold[kept],
        subgroups={name: members & set(ids) for name, members in cases.subgroups.items()},
        answers={key: MethodAnswers(a.probability[kept], a.parsed[kept]) for key, a in cases.answers.items()},
    )


def _n_all(run: RunFolder, cases: SettingCases) -> int:
    """Count the evaluated cases of a setting, those that the page leaves out included."""
    groups = [g for g in run.groups if (g.task, g.domain_train, g.domain_eval) == cases.setting]
    return max([len(cases), *(row.n_cases for row in run.results if row.group in groups)])


def _listed(cases: SettingCases) -> dict[str, Any]:
    task, trained, evaluated = cases.setting
    return {
        "title": f"{task}, {evaluated}" if trained == evaluated else f"{task}, {trained} to {evaluated}",
        "domains": f"{trained}:{evaluated}",
        "ids": list(cases.case_id),
        "labels": "".join(map(str, cases.label.tolist())),
        "subgroups": {
            name: "".join("01"[case_id in members] for case_id in cases.case_id)
            for name, members in cases.subgroups.items()
        },
        "answers": _answers(cases, CLEAN_KEY),
    }


def _answers(cases: SettingCases, condition: ConditionKey) -> dict[str, str]:
    return {method: packed(answers) for (method, key), answers in cases.answers.items() if key == condition}


def _features(cases: Cases | None) -> list[list[Any]]:
    features = () if cases is None else cases.features
    return [[feature.name, feature.label, feature.unit, *feature.reference] for feature in features]


def _write_shards(scripts: Path, name: str, positions: Sequence[int], details_of: Any) -> None:
    for number, start in enumerate(range(0, len(positions), _PER_SHARD)):
        details, texts = details_of(positions[start : start + _PER_SHARD])
        key = f"{name}-{number}"
        replace_text(scripts / f"{key}.js", script("cases.shard", key, details, texts))


def _write_search(scripts: Path, t: int, search: Search, missing: list[str]) -> dict[str, Any] | None:
    """Write the details of a search's cases; None if the store lacks what they are made from."""
    cases = search.cases[:MOST_CASES]
    try:
        _write_shards(
            scripts, f"searched-{t}", range(len(cases)), lambda at: searched_details(search, [cases[i] for i in at])
        )
    except MissingStageError as error:
        missing.append(f"training cases of {search.label}: {error}")
        return None
    return {
        "title": search.label,
        "ids": [case.case_id for case in cases],
        "labels": "".join(str(case.label) for case in cases),
        "best": [None if case.best_reward is None else round(case.best_reward, 3) for case in cases],
        "nodes": [len(case.tree) for case in cases],
        "features": _features(search.records),
    }


def _write_html(run: RunFolder) -> Path:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("eagbench.report.cases"), PackageLoader("eagbench.report.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    code = (files("eagbench.report.cases") / "templates" / "page.js").read_text(encoding="utf-8")
    replace_text(run.path / CASE_SCRIPTS / "page.js", code)
    path, theme = run.path / CASES, inline_script(THEME)
    replace_text(path, environment.get_template("cases.html.j2").render(manifest=run.manifest, script=theme))
    return path
