"""Report the setting: the opening, the data, and the provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from eagbench.report import tables, wording
from eagbench.report.page.blocks import Block, Code, Facts, Folded, Prose, Section, TableBlock
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import RunFolder


def opening(run: RunFolder) -> tuple[str, ...]:
    """Say in a few plain sentences what was done, and on what."""
    manifest = run.manifest
    sentences = [_data_sentence(domain) for domain in manifest["data"].values()]
    used, available = (sum(part["n_cases"] for part in parts) for parts in (_used(manifest), manifest["data"].values()))
    if used and used < available:
        sentences.append(f"Of these, {wording.count(used)} cases were used.")
    return (" ".join(sentences), _done(run))


def _data_sentence(domain: Mapping[str, Any]) -> str:
    task = domain["task"]
    hours = f"{float(task['window_hours']):g}"
    patients = "stays, which stand for patients," if domain.get("patient_is_stay") else "patients"
    rate = wording.percent(domain["n_positive"] / domain["n_cases"]) if domain["n_cases"] else "none"
    return (
        f"From the first {hours} hours of a record, the task is to predict whether the patient will {task['outcome']}. "
        f"The data are {wording.count(domain['n_cases'])} cases of {wording.count(domain['n_patients'])} {patients} "
        f"from {domain['source']}, with {wording.several(domain['n_positive'], 'event')} ({rate})."
    )


def _done(run: RunFolder) -> str:
    methods = wording.in_words(len(run.methods), "method")
    seeds = wording.in_words(len(run.manifest["seeds"]), "random seed")
    trained = f", each with {seeds}, were" if len(run.methods) > 1 else f" with {seeds} was"
    text = f"{methods[0].upper()}{methods[1:]}{trained} evaluated on unchanged records"
    if run.perturbations:
        text += f" and under {wording.in_words(len(run.perturbations), 'perturbation')}"
    return f"{text}. {_split_sentence(run.manifest)}"


def _split_sentence(manifest: Mapping[str, Any]) -> str:
    split = manifest.get("split", {})
    if _is_given(split) and not split.get("folds"):
        said = "as the data set's own split says" if split.get("by") == "source" else _given_by(split)
        return f"Patients were divided {said}; every figure is on held-out patients."
    if split.get("folds"):
        by = f" {_given_by(split)}" if _is_given(split) else ""
        folds = f"Patients were divided{by} into {split['folds']} folds"
        return f"{folds}; every figure is made from the pooled out-of-fold predictions."
    shares = [
        f"{100 * split[part]:g} % {part.replace('_', '-')}" for part in ("train", "tuning", "held_out") if part in split
    ]
    return (
        f"Patients were divided into {wording.enumeration(shares)}; every figure is on held-out patients."
        if shares
        else ""
    )


def _is_given(split: Mapping[str, Any]) -> bool:
    """Tell whether something else than the seed divides the patients."""
    return "file" in split or "by" in split


def _given_by(split: Mapping[str, Any]) -> str:
    if "file" in split:
        return f"as the file {PurePath(split['file']).name} says"
    held_out = f": {wording.enumeration(list(split['held_out']))} held out" if split.get("held_out") else ""
    return f"by {split['by']}{held_out}"


def tiles(run: RunFolder) -> tuple[tuple[str, str], ...]:
    """Return the sizes that a reader looks for first."""
    used = _used(run.manifest)
    asked = {target for _, target in (run.manifest.get("transfer") or {}).get("pairs", [])}
    cases, events = sum(p["n_cases"] for p in used), sum(p["n_positive"] for p in used)
    held_out = [
        part
        for part in run.manifest.get("parts", [])
        if part["part"] == "held_out" and (not asked or part["domain"] in asked)
    ]
    evaluated, evaluated_events = sum(p["n_cases"] for p in held_out), sum(p["n_positive"] for p in held_out)
    sizes = (
        ("cases used", wording.count(cases)),
        ("events", f"{wording.count(events)} ({100 * events / cases:.1f} %)" if cases else "0"),
        ("evaluated cases", wording.count(evaluated)),
        ("evaluated events", wording.count(evaluated_events)),
    )
    return (
        *(sizes if run.manifest.get("parts") else ()),  # an exported bundle may not show them
        ("methods", wording.count(len(run.methods))),
        ("seeds", wording.count(len(run.manifest["seeds"]))),
    )


def _used(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of one fold, which together contain each used case once.

    Pooled domains are left out, because they repeat others.
    """
    parts = manifest.get("parts", [])
    domains = (manifest.get("transfer") or {}).get("domains", [])
    pooled = {domain["name"] for domain in domains if len(domain["holds"]) > 1}
    return [part for part in parts if part["fold"] == parts[0]["fold"] and part.get("domain") not in pooled]


def data(run: RunFolder) -> Section:
    """Describe the cohort, exclusions, features and split."""
    blocks: list[Block] = []
    for name, domain in run.manifest["data"].items():
        blocks.append(
            Facts(
                (
                    ("Source", f"{domain['source']}" + (f" (domain {name})" if len(run.manifest["data"]) > 1 else "")),
                    ("Access", str(domain["access"])),
                    ("Cite", str(domain["citation"])),
                    ("Task", f"{domain['task']['name']}: {domain['task']['outcome']}"),
                    ("Window", f"first {float(domain['task']['window_hours']):g} h"),
                    (
                        "Patients",
                        "one per stay: the source has no patient id" if domain["patient_is_stay"] else "by id",
                    ),
                    *(("Note", str(note)) for note in domain.get("notes", [])),
                    *(("Split", str(note)) for note in run.manifest.get("split_notes", {}).get(name, [])),
                )
            )
        )
        lines = [Line("Patients in the source", (Entry(_count(domain["n_patients_read"])), Entry("patients")))]
        lines.extend(
            Line(f"Left out: {reason}", (Entry(wording.count(n)), Entry("cases")))
            for reason, n in domain.get("exclusions", [])
        )
        lines.append(Line("Analysed", (Entry(wording.count(domain["n_cases"])), Entry("cases"))))
        lines.append(Line("Patients analysed", (Entry(wording.count(domain["n_patients"])), Entry("patients"))))
        lines.append(Line("With the event", (Entry(wording.count(domain["n_positive"])), Entry("cases"))))
        blocks.append(
            TableBlock(Table(f"How {domain['source']} became the cohort.", ("Step", "n", "of"), tuple(lines)))
        )
        features = [Line(f["label"], (Entry(f["name"]), Entry(f["unit"]))) for f in domain.get("features", [])]
        implausible = domain.get("implausible", {})
        features = [
            Line(line.name, (*line.entries, Entry(_count(implausible.get(line.entries[0].text, 0)))))
            for line in features
        ]
        static = ", ".join(domain.get("static_names", [])) or "none"
        blocks.append(
            Folded(
                f"{len(features)} features that vary over time, and static facts",
                (
                    TableBlock(
                        Table(
                            f"Features of {domain['source']}, with the number of values removed as implausible. "
                            f"Static facts: {static}.",
                            ("Feature", "Name", "Unit", "Removed"),
                            tuple(features),
                        )
                    ),
                ),
            )
        )
        if domain.get("result_times"):
            blocks.append(_result_times(domain))
    if run.manifest.get("parts"):
        parts = TableBlock(_parts(run.manifest))
        folds = run.manifest.get("split", {}).get("folds")
        blocks.append(Folded(f"The parts of {folds} folds", (parts,)) if folds else parts)
    return Section("data", "Data", tuple(blocks))


def _count(count: int | str) -> str:
    """Format a count, or what an exported bundle says instead of one."""
    return count if isinstance(count, str) else wording.count(int(count))


def _result_times(domain: Mapping[str, Any]) -> Block:
    """Tabulate, by feature, which laboratory results were known too late, and how long results take."""
    labels = {feature["name"]: feature["label"] for feature in domain.get("features", [])}
    counted = ("drawn", "known_late", "left_out", "undated")
    lines = [
        Line(
            labels.get(name, name),
            (
                *(Entry(wording.count(times[key])) for key in counted),
                *(Entry(wording.EN_DASH if lag is None else f"{lag:.1f}") for lag in times["lag_hours"] or (None,) * 3),
            ),
        )
        for name, times in domain["result_times"].items()
    ]
    total = [wording.count(sum(times[key] for times in domain["result_times"].values())) for key in counted]
    lines.append(Line("All", (*(Entry(text) for text in total), *(Entry(wording.EN_DASH) for _ in range(3)))))
    headings = ("Feature", "Drawn", "Known too late", "Left out", "No second time", "Median lag", "95 %", "Longest")
    caption = (
        f"Laboratory values of {domain['source']} drawn in the observation windows: how many were known only at or "
        "after the prediction time, how many of these the records leave out, how many have no time at which they were "
        "known, and the hours from drawing to knowing."
    )
    title = f"When the results of {len(lines) - 1} laboratory tests were known"
    return Folded(title, (TableBlock(Table(caption, headings, tuple(lines))),))


def _parts(manifest: Mapping[str, Any]) -> Table:
    several = len({part.get("domain") for part in manifest.get("parts", [])}) > 1
    lines = [
        Line(
            (f"{part['domain']}, " if several else "")
            + f"{part['part'].replace('_', '-')}"
            + (f", fold {part['fold']}" if manifest.get("split", {}).get("folds") else ""),
            (
                Entry(wording.count(part["n_patients"])),
                Entry(wording.count(part["n_cases"])),
                Entry(wording.count(part["n_positive"])),
                Entry(wording.percent(part["n_positive"] / part["n_cases"]) if part["n_cases"] else wording.EN_DASH),
                Entry(str(part.get("patients_sha256", wording.EN_DASH))[:12]),
            ),
        )
        for part in manifest.get("parts", [])
    ]
    split = manifest.get("split", {})
    drawn = "as given; where no tuning part is given it is drawn by" if _is_given(split) else "stratified,"
    return Table(
        f"Parts of the split, by patient, {drawn} split seed {split.get('seed', 0)}. eagbench verify checks by these "
        "hashes of the patient sets that no held-out patient was trained on.",
        ("Part", "Patients", "Cases", "Events", "Event rate", "SHA-256 of patients"),
        tuple(lines),
    )


def provenance(run: RunFolder) -> Section:
    """Say how the run was made, and how to repeat and check it."""
    manifest = run.manifest
    git = manifest.get("git")
    state = f"{git['commit']}{' with uncommitted changes' if git['dirty'] else ''}" if git else "not a git checkout"
    hardware = manifest.get("hardware", {})
    facts = [
        ("eagbench", str(manifest.get("eagbench_version", ""))),
        ("Code", state),
        ("Created", str(manifest.get("created", ""))),
        ("Training seeds", ", ".join(str(seed) for seed in manifest["seeds"])),
        *(("Policy", str(manifest[key])) for key in ("weights_note", "policy_setup") if manifest.get(key)),
        ("Intervals", f"{tables.interval_words(run)}, seed {manifest['intervals']['seed']}"),
        ("Hardware", ", ".join(f"{key} {value}" for key, value in hardware.items() if value not in (None, ""))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())),
        *(
            (f"Content of {name}", str(d.get("content") or "written by the stage `source`"))
            for name, d in manifest["data"].items()
        ),
    ]
    options = ""  # the benchmark below already includes the profile
    if manifest.get("limit") is not None:
        options += f" --limit {manifest['limit']}"
    name = manifest["name"]
    again = (
        f"# save the benchmark below as {name}.yaml, in the environment named above\n"
        f"eagbench run {name}.yaml{options} --out again\n"
        "eagbench verify again      # recomputes every metric and proves that no held-out patient was trained on"
    )
    stages = Table(
        "Every stage with the fingerprint by which the store knows it.",
        ("Stage", "Label", "Seed", "Status", "Fingerprint"),
        tuple(
            Line(
                str(stage["kind"]),
                (
                    Entry(str(stage.get("label", ""))),
                    Entry("" if stage.get("seed") is None else str(stage["seed"])),
                    Entry(str(stage.get("status", ""))),
                    Entry(str(stage["fingerprint"])[:16]),
                ),
            )
            for stage in manifest.get("stages", [])
        ),
        numeric=False,
    )
    return Section(
        "provenance",
        "Provenance",
        (
            Facts(tuple(facts)),
            Prose("To run it again and to check what is stored:"),
            Code(again),
            Folded("The benchmark as resolved", (Code(_yaml(manifest.get("benchmark", {}))),)),
            Folded(f"{len(stages.lines)} stages and their fingerprints", (TableBlock(stages),)),
        ),
    )


def _yaml(value: Any) -> str:
    import yaml

    # Go through JSON, so that only plain values are written.
    return str(yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, allow_unicode=True, width=100)).rstrip()
