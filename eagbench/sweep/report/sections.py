"""What a sweep's report says about its trials, all of it measured on tuning cases."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

from eagbench.report import wording
from eagbench.report.figures.estimates import Look
from eagbench.report.page.blocks import Block, Code, Facts, FigureBlock, Folded, Heading, Prose, Section, TableBlock
from eagbench.report.tables import Entry, Line, Table
from eagbench.sweep.report import figures, tables
from eagbench.sweep.report.figures import BEST, BEST_SO_FAR, COMPLETE, DEFAULT, FAILED, PRUNED
from eagbench.sweep.report.trials import LEAST_FOR_IMPORTANCE, TUNING, SweepFolder, named, objective_label, seconds_of

SHOWN_AXES = 8  # of the parallel coordinates: more can't be read

_FAILURES = {
    "lost": "lost with their process and tried again",
    "surplus": "given up because another process had taken their place",
    "user": "with an error in the benchmark or the data",
    "bug": "with an error in the program",
    "unknown": "for a reason that is not recorded",
}


def looks(sweep: SweepFolder) -> dict[int, Look]:
    """Choose how each complete trial is drawn: best before default before others."""
    drawn = {trial.number: COMPLETE for trial in sweep.complete}
    if sweep.default is not None:
        drawn[sweep.default.number] = DEFAULT
    return drawn | {trial.number: BEST for trial in sweep.best}


def best(sweep: SweepFolder) -> Section:
    """Show the best trials in a table, and what the best one changes in the benchmark."""
    if not sweep.complete:
        return Section("best", "The best trials", (Prose("No trial is complete yet."),))
    blocks: list[Block] = [TableBlock(tables.best_table(sweep))]
    several = len(sweep.record.objectives) > 1
    if several:
        each = [
            block for t in sweep.best for block in (Heading(f"Trial {t.number}"), Code(tables.difference(sweep, t)))
        ]
        blocks.append(Folded("What each of them changes", (Prose(_change_words(sweep)), *each)))
    else:
        [trial] = sweep.best
        blocks += [Heading(f"What trial {trial.number} changes"), Prose(_change_words(sweep))]
        blocks.append(Code(tables.difference(sweep, trial)))
    return Section("best", "Trials that no other beats" if several else "The best trials", tuple(blocks))


def _change_words(sweep: SweepFolder) -> str:
    whole = "best.yaml holds the whole benchmark"
    if len(sweep.record.objectives) > 1:
        whole = "best_1.yaml and those after it hold the whole benchmarks, each with its trial's number"
    if sweep.default is None:
        return f"The parameters; {whole}. {_no_default(sweep)}"
    return (
        "Lines with + are the trial's, lines with \u2212 those of the default configuration (trial "
        f"{sweep.default.number}), all others are the same in both; {whole}."
    )


def _no_default(sweep: SweepFolder) -> str:
    if sweep.record.default_reason:
        return f"There is no trial of the default configuration: {sweep.record.default_reason}."
    return "The trial of the default configuration did not finish."


def history(sweep: SweepFolder) -> Section | None:
    """Show objectives over the trials."""
    if not sweep.complete:
        return None
    svg = figures.history(history_panels(sweep))
    text = f"Each objective over the trials, on {TUNING} ({tables.tuning_words(sweep)})."
    if len(sweep.record.objectives) > 1:
        text += " The best so far is that of each objective alone."
    if sweep.pruned or sweep.failed:
        text += " Trials without a value stand below the axis."
    legend = [(COMPLETE, "complete"), (BEST_SO_FAR, "best so far")]
    if sweep.default is not None:
        legend += [(DEFAULT, f"default configuration (trial {sweep.default.number})")]
    legend += [(PRUNED, "pruned")] if sweep.pruned else []
    legend += [(FAILED, "failed")] if sweep.failed else []
    blocks: list[Block] = [FigureBlock(svg, text, tuple(legend))]
    if sweep.failed:
        reasons = [f"{n} {_FAILURES.get(reason, reason)}" for reason, n in sorted(sweep.failures.items())]
        blocks.append(Prose(f"{_trials(len(sweep.failed))} failed: {wording.enumeration(reasons)}."))
    if sweep.default is None:
        blocks.append(Prose(_no_default(sweep)))
    return Section("history", "History", tuple(blocks))


def history_panels(sweep: SweepFolder) -> list[figures.HistoryPanel]:
    """Collect the history's data, one panel per objective."""
    without = [(t.number, PRUNED) for t in sweep.pruned] + [(t.number, FAILED) for t in sweep.failed]
    panels = []
    for i in range(len(sweep.record.objectives)):
        best_so_far = sweep.improvements(i)
        better = {number for number, _ in best_so_far}
        points = []
        for trial in sweep.complete:
            look = DEFAULT if trial is sweep.default else BEST_SO_FAR if trial.number in better else COMPLETE
            points.append(figures.Point(trial.number, trial.values[i], look))
        default = None if sweep.default is None else sweep.default.values[i]
        panels.append(figures.HistoryPanel(sweep.title(i), points, best_so_far, default, sorted(without)))
    return panels


def importances(sweep: SweepFolder) -> Section | None:
    """Show what sets the best trials apart, or say why this can't be told."""
    n = len(sweep.complete)
    if not n:
        return None
    if n < LEAST_FOR_IMPORTANCE:
        text = (
            f"{wording.in_words(n, 'complete trial').capitalize()} can't tell which parameters matter: importances are "
            f"shown from {LEAST_FOR_IMPORTANCE} on."
        )
        return Section("importances", "Parameter importances", (Prose(text),))
    panels = [
        figures.ImportancePanel(sweep.title(i), sweep.importances(i)) for i in range(len(sweep.record.objectives))
    ]
    order = list(panels[0].shares)
    short = [figures.ImportancePanel(p.title, {sweep.short[k]: v for k, v in p.shares.items()}) for p in panels]
    n_best = math.ceil(sweep.best_share * n)
    caption = (
        f"Parameter importances on {TUNING} by PED-ANOVA, from {n} complete trials: the share of each parameter in "
        f"what sets the best {n_best} of them apart from all. They describe the trials that were made, most of them "
        "near good values where the sampler learns, and are rough for so few."
    )
    table = Table(
        f"Parameter importances on {TUNING}, in %, from {n} complete trials.",
        ("Parameter", *(panel.title for panel in panels)),
        tuple(Line(name, tuple(Entry(f"{100 * p.shares.get(name, 0.0):.1f}") for p in panels)) for name in order),
    )
    figure = FigureBlock(figures.importances(short, [sweep.short[name] for name in order]), caption)
    numbers = Folded("The figure's numbers", (TableBlock(table),))
    return Section("importances", "Parameter importances", (figure, numbers))


def slices(sweep: SweepFolder) -> Section | None:
    """Show each objective over each parameter."""
    if not sweep.axes:
        return None
    blocks: list[Block] = []
    for i in range(len(sweep.record.objectives)):
        caption = (
            f"{sweep.label(i)} of the complete trials over each parameter alone, on {TUNING}. All others vary as well: "
            "a trend is not an effect. Logarithmic axes where the space is searched on that scale."
        )
        blocks.append(FigureBlock(figures.slices(slice_panels(sweep, i), sweep.title(i)), caption, _legend(sweep)))
    return Section("slices", "Slices", tuple(blocks))


def slice_panels(sweep: SweepFolder, objective: int) -> list[figures.SlicePanel]:
    """Collect the slices' data, one panel per parameter."""
    drawn = looks(sweep)
    return [
        figures.SlicePanel(
            sweep.short[name],
            axis,
            [
                (axis.position(trial.params[name]), trial.values[objective], drawn[trial.number])
                for trial in sweep.complete
                if name in trial.params
            ],
        )
        for name, axis in sweep.axes.items()
    ]


def parallel(sweep: SweepFolder) -> Section | None:
    """Show all parameters of each trial at once."""
    if len(sweep.axes) < 2:
        return None
    names = _axes_to_show(sweep)
    left_out = [sweep.short[name] for name in sweep.axes if name not in names]
    blocks: list[Block] = []
    for i in range(len(sweep.record.objectives)):
        caption = (
            f"Parameters of the complete trials and {sweep.label(i)} on {TUNING}; the darker a line, the higher "
            "its value." + (f" Not drawn: {wording.enumeration(left_out)}." if left_out else "")
        )
        axes = [sweep.axes[name] for name in names]
        short = [sweep.short[name] for name in names]
        svg = figures.parallel(short, axes, parallel_lines(sweep, names, i), sweep.title(i))
        blocks.append(FigureBlock(svg, caption, _line_legend(sweep)))
    return Section("parallel", "Parallel coordinates", tuple(blocks))


def _axes_to_show(sweep: SweepFolder) -> list[str]:
    """Choose all parameters, or the most important of many, in the order of the space."""
    names = list(sweep.axes)
    if len(names) <= SHOWN_AXES:
        return names
    if len(sweep.complete) >= LEAST_FOR_IMPORTANCE:
        chosen = list(sweep.importances(0))[:SHOWN_AXES]
        return [name for name in names if name in chosen]
    return names[:SHOWN_AXES]


def parallel_lines(sweep: SweepFolder, names: list[str], objective: int) -> list[figures.ParallelLine]:
    """Collect the data of the parallel coordinates, one line per trial."""
    drawn = looks(sweep)
    return [
        figures.ParallelLine(
            [sweep.axes[name].position(trial.params[name]) if name in trial.params else None for name in names],
            trial.values[objective],
            drawn[trial.number],
        )
        for trial in sweep.complete
    ]


def front(sweep: SweepFolder) -> Section | None:
    """Show several objectives against each other."""
    if len(sweep.record.objectives) < 2 or not sweep.complete:
        return None
    caption = (
        f"Complete trials by their objectives, on {TUNING} ({tables.tuning_words(sweep)}). Those that no other trial "
        "beats in every objective are marked, and numbered where there is room; arrows point to the better end."
    )
    svg = figures.fronts(front_panels(sweep))
    return Section("front", "Pareto front", (FigureBlock(svg, caption, _legend(sweep)),))


def front_panels(sweep: SweepFolder) -> list[figures.FrontPanel]:
    """Collect the front's data, one panel per pair of objectives."""
    drawn = looks(sweep)
    return [
        figures.FrontPanel(
            sweep.title(i),
            sweep.title(j),
            [(t.number, t.values[i], t.values[j], drawn[t.number]) for t in sweep.complete],
        )
        for i, j in combinations(range(len(sweep.record.objectives)), 2)
    ]


def _legend(sweep: SweepFolder) -> tuple[tuple[Look, str], ...]:
    """Explain the points of complete trials."""
    is_default_best = sweep.default is not None and sweep.default in sweep.best
    several = len(sweep.record.objectives) > 1
    best_name = "beaten by no other in everything" if several else f"best (trial {sweep.best[0].number})"
    if is_default_best:
        best_name += ", the default configuration among them" if several else ", the default configuration"
    default = [(DEFAULT, f"default configuration (trial {sweep.default.number})")] if sweep.default else []
    return ((COMPLETE, "complete"), (BEST, best_name), *([] if is_default_best else default))


def _line_legend(sweep: SweepFolder) -> tuple[tuple[Look, str], ...]:
    """Explain the lines of complete trials."""
    return tuple((replace(look, joined=True), name) for look, name in _legend(sweep))


def intermediate(sweep: SweepFolder) -> Section | None:
    """Show what trials reported while they ran, if they reported more than their final value."""
    lines = intermediate_lines(sweep)
    if len({step for line in lines for step, _ in line.points}) < 2:
        return None
    pruner = str(sweep.record.pruner["name"])
    # Wilcoxon's test pairs single values; for every other pruner a trial reports its mean so far (sweep.loop).
    reported = "value of each step" if pruner == "WilcoxonPruner" else "mean over the steps done so far"
    caption = f"{sweep.label(0)} on {TUNING} while trials ran: {reported}, a step being a training seed and a fold."
    x_title, rungs = "step", None
    if sweep.rungs is not None:
        x_title, rungs = sweep.rungs
        caption = (
            f"{sweep.label(0)} on {TUNING} while trials climbed their rungs, each a training of its own: the mean over "
            f"all seeds and folds at each {x_title}. A trial's value is that of the last rung."
        )
    legend = (*_line_legend(sweep), *([(replace(PRUNED, joined=True), "pruned")] if sweep.pruned else []))
    svg = figures.intermediate(lines, sweep.title(0), x_title, rungs)
    blocks: list[Block] = [
        FigureBlock(svg, caption, legend),
        Folded("The figure's numbers", (TableBlock(tables.intermediate_table(sweep)),)),
    ]
    if sweep.pruned:
        stopped = (
            f"{pruner} stopped {wording.in_words(len(sweep.pruned), 'trial')} early and let {len(sweep.complete)} run "
            "to their end. What a pruned trial reached stands here and in no other figure."
        )
        blocks.insert(0, Prose(stopped))
    return Section("intermediate", "Intermediate values and pruning", tuple(blocks))


def intermediate_lines(sweep: SweepFolder) -> list[figures.ReportedLine]:
    """Collect the intermediate values, one line per trial that reported any."""
    drawn = looks(sweep)
    drawn |= {trial.number: PRUNED for trial in sweep.pruned} | {trial.number: FAILED for trial in sweep.failed}
    return [
        figures.ReportedLine(sorted(trial.intermediate_values.items()), drawn[trial.number])
        for trial in sweep.trials
        if trial.intermediate_values and trial.number in drawn
    ]


def cost(sweep: SweepFolder) -> Section | None:
    """Show how long trials took, and which stages they shared."""
    kinds: dict[str, list[int]] = {}
    for trial in sweep.trials:
        for kind, counts in trial.user_attrs.get("stages", {}).items():
            sums = kinds.setdefault(kind, [0, 0, 0])
            sums[0] += counts["computed"]
            sums[1] += counts["reused"]
            sums[2] += counts["computed"] > 0
    times = [seconds for trial in sweep.trials if not math.isnan(seconds := seconds_of(trial))]
    if not times:
        return None
    text = (
        f"{_trials(len(times))} took {wording.duration(sum(times))} together, {wording.duration(min(times))} to "
        f"{wording.duration(max(times))} each. What two trials have in common is computed once and reused."
    )
    if not kinds:
        return Section("cost", "Cost", (Prose(text),))
    table = Table(
        "Stages of all trials by kind: how many were computed, by how many trials, and how many were found in the "
        "store.",
        ("Stage", "Computed", "Trials that computed one", "Reused"),
        tuple(
            Line(kind, (Entry(wording.count(done)), Entry(wording.count(by)), Entry(wording.count(reused))))
            for kind, (done, reused, by) in kinds.items()
        ),
    )
    return Section("cost", "Cost", (Prose(text), TableBlock(table)))


def every_trial(sweep: SweepFolder) -> Section:
    """Show the table that all figures are drawn from."""
    return Section(
        "trials",
        "All trials",
        (
            Prose("The figures on this page are drawn from these numbers; trials.csv holds them unrounded."),
            Folded(f"{_trials(len(sweep.trials))}", (TableBlock(tables.trials_table(sweep)),)),
        ),
    )


def setting(sweep: SweepFolder) -> Section:
    """Describe the search space, how it was searched, and on what."""
    record = sweep.record
    facts = (
        ("Benchmark", f"{record.benchmark_name} ({record.benchmark})"),
        ("Data", f"{record.domain}, {wording.words(record.task)}"),
        ("Objectives", "; ".join(_objective_words(sweep, i) for i in range(len(record.objectives)))),
        ("Measured on", f"{TUNING}: {tables.tuning_words(sweep)}"),
        ("Training seeds", ", ".join(str(seed) for seed in record.seeds)),
        ("Sampler", named(record.sampler)),
        ("Pruner", named(record.pruner)),
        *((("Rungs", f"{sweep.rungs[0]}: {', '.join(sweep.rungs[1])}"),) if sweep.rungs is not None else ()),
        ("Trials wanted", wording.count(record.trials)),
        ("Storage", record.storage),
        ("Fingerprint", record.fingerprint[:16]),
        ("eagbench", record.eagbench),
    )
    return Section("setting", "Space and setting", (TableBlock(tables.space_table(sweep)), Facts(facts)))


def _objective_words(sweep: SweepFolder, i: int) -> str:
    record = sweep.record.objectives[i]
    under = ""
    if record.condition is not None:
        under = f" under {wording.condition_label(record.condition, record.severity)}"
    measure = "loss of " if record.kind == "degradation" else ""
    return f"{record.direction} {measure}{objective_label(record)} of {record.method}{under}, {TUNING}"


def _trials(n: int) -> str:
    return wording.in_words(n, "trial").capitalize()
