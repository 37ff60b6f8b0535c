"""What `eagbench data describe` does: the parameters of a data set, or the card of a cohort."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import cast, get_args

import numpy as np

from eagbench.cli.catalogue import describe_dataset
from eagbench.cli.data.loaded import stored_cohort
from eagbench.cli.stage_results import compute
from eagbench.errors import UserError
from eagbench.execution.private_files import keep_private, own_umask
from eagbench.execution.store import Store
from eagbench.planning.access import is_credentialed
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from eagbench.report.cohort_card.content import Card
from eagbench.report.cohort_card.make import make_card
from eagbench.report.cohort_card.render import CardFormat, render
from eagbench.session.running import Request, say_notes
from eagbench.stages.cohort_files import read_stored
from eagbench.stages.split import read_assignment, read_parts
from eagbench.stages.unit_mismatch import suspicions


def describe(what: str, sets: tuple[str, ...], profile: str | None, form: str) -> str:
    """Describe a data set or the cohorts of a benchmark.

    Args:
        what: A benchmark's file, or the name of a data set.
        sets: Changed values of the benchmark, or parameters of the data set. Without any, a data set's parameters are
            described, else its cohort.
        profile: One of the benchmark's profiles.
        form: `text`, `md` or `json`.

    Raises:
        UserError: Something of that is wrong, or the data can't be read.
    """
    if form not in get_args(CardFormat):
        offered = ", ".join(get_args(CardFormat))
        raise UserError(f"there is no format '{form}'", where="--format", hint=f"choices: {offered}")
    if Path(what).suffix in (".yaml", ".yml"):
        cards = _of_benchmark(Request(Path(what), sets, profile=profile))
    elif profile is not None:
        raise UserError("a data set has no profiles", where="--profile", hint="give a benchmark's YAML file")
    elif not sets:
        command = f"eagbench data describe {what} --set root=FOLDER"
        return f"{describe_dataset(what)}\n\nwho is in it, what was measured, and leak hints: {command}"
    else:
        with stored_cohort(what, sets) as cohort:
            cards = [make_card(what, cohort)]
    if any(dict(card.facts)["access"].text.startswith("credentialed") for card in cards):
        print("from credentialed data: counts of a few patients are suppressed", file=sys.stderr)
    return render(cards, cast(CardFormat, form))


def _of_benchmark(request: Request) -> list[Card]:
    """Make the card of each domain, from the stages that a run would use."""
    loaded = request.load()
    with own_umask():
        if is_credentialed(loaded, load_registry()):
            keep_private()
        store = Store.open()
        plan = make_plan(loaded, load_registry(), store, limit=request.limit)
        say_notes(plan)
        domains = [domain for domain in plan.transfer.domains if len(domain.holds) == 1]
        compute(plan, store, [domain.split for domain in domains])
    cards, cohorts = [], {}
    for domain in domains:
        cohort = cohorts[domain.name] = read_stored(store.folder(domain.cohort))
        split = store.folder(domain.split)
        rows = read_assignment(split).to_pylist()
        training = {row["case_id"] for row in rows if row["fold"] == 0 and row["part"] == "train"}
        positions = np.flatnonzero([case_id in training for case_id in cohort.cases.case_ids])
        cards.append(make_card(f"{loaded.benchmark.name}: {domain.name}", cohort, read_parts(split), positions))
    for first, second in itertools.combinations(cohorts, 2):
        shared = set(cohorts[first].cases.feature_names) & set(cohorts[second].cases.feature_names)
        for found in suspicions(cohorts[first].cases, cohorts[second].cases, tuple(sorted(shared))):
            where = second if found.is_second else first
            print(
                f"note: {found.concept} seems to be in {found.found} in {where}, expected {found.expected}",
                file=sys.stderr,
            )
    return cards
