"""Report training: its curves, whether clipping acted, and what the searches found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.analysis.run_tables import MEAN_SEED
from eagbench.report import wording
from eagbench.report.figures import training as training_figures
from eagbench.report.figures.estimates import Look
from eagbench.report.figures.training import Trace, TracePanel
from eagbench.report.page.blocks import (
    Block,
    Facts,
    FigureBlock,
    FigureFile,
    Folded,
    Heading,
    Prose,
    Section,
    TableBlock,
)
from eagbench.report.sections.training_curves import Curve, Summarised, Trained, summarised, trained
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import RunFolder

# If a smaller share of tokens than this exceeds the fixed bound, its height changes next to nothing.
LEAST_CLIPPED = 0.01
VOID = "VOID: the ablation of adaptive clipping says nothing here"
SHOWN_UNFOLDED = 3

REWARD, ABOVE, FREED = "reward", "clip_above_fixed", "clip_freed"
WITHOUT_STEP = "without_step"
_REWARD_PART = "reward_"
_NOT_A_PART = {"reward_std"}
# In drawing order; the reward's parts follow the reward.
_MEANINGS: Mapping[str, tuple[str, str]] = {
    REWARD: ("Reward", "mean reward of the trajectories that the policy wrote for the batch; its parts beside it"),
    "entropy": ("Entropy", "mean entropy of the policy's next token, in nats; near 0 it no longer explores"),
    "kl": ("KL divergence", "from the policy that this training began with, per token, in nats"),
    ABOVE: ("Ratio above 1.2", "share of tokens with positive advantage whose probability rose by more than a fifth"),
    FREED: ("Freed", "share of such tokens that the method's bound lets learn on, where a bound of 0.2 would not"),
    "clip_high": ("Clipped above", "share of tokens stopped at the upper bound in force"),
    "clip_low": ("Clipped below", "share of tokens stopped at the lower bound"),
    "length": ("Length", "tokens per trajectory"),
    "unparsed_rate": ("Unparsed", "share of trajectories whose answer could not be read"),
    "loss": ("Loss of fine-tuning", "weighted negative log-likelihood per token of the text to learn, in nats"),
}


def training(run: RunFolder) -> Section | None:
    """Draw curves of every training: small multiples if there is a reward, the loss if there is none."""
    found = trained(run)
    with_reward = [item for item in found if REWARD in item.curves]
    fine_tuned = [item for item in found if REWARD not in item.curves and "loss" in item.curves]
    others = [item for item in found if item not in with_reward and item not in fine_tuned]
    if not found:
        return None
    blocks: list[Block] = [
        Prose(
            "What went on while the methods were trained, on training cases only; nothing here is a result. "
            "Methods that share a training stand together."
        ),
        Facts(tuple(_meanings(found))),
    ]
    blocks += [Prose(text) for item in with_reward if (text := _without_step(item))]
    if with_reward:
        blocks.append(TableBlock(_progress_table(run, with_reward)))
    figures = [
        (item.title, _figure(run, item, _reinforcement_names(item), f"training_{i}"))
        for i, item in enumerate(with_reward, start=1)
    ]
    if len(figures) <= SHOWN_UNFOLDED:
        for title, figure in figures:
            blocks += [Heading(title), figure]
    else:
        blocks += [Folded(f"Curves of {title}", (figure,)) for title, figure in figures]
    if fine_tuned:
        blocks.append(_loss_figure(run, fine_tuned))
    blocks += [
        Folded(f"Curves of {item.title} ({item.kind})", (_figure(run, item, tuple(item.curves), f"training_{i}"),))
        for i, item in enumerate(others, start=1 + len(with_reward))
    ]
    return Section("training", "Training", tuple(blocks))


def _without_step(item: Trained) -> str | None:
    """Say how many generated batches had nothing to learn from; None if every batch had."""
    skipped = sum(len(curve.values) for curve in item.curves.get(WITHOUT_STEP, ()))
    if not skipped:
        return None
    batches = sum(len(curve.values) for curve in item.curves[REWARD])
    return (
        f"NOTHING TO LEARN FROM in {skipped} of {batches} generated batches of {item.title}: all trajectories of a "
        "case got the same reward, or were cut and left out. Such a batch makes no optimiser step."
    )


def _meanings(found: Sequence[Trained]) -> list[tuple[str, str]]:
    with_reward = {name for item in found if REWARD in item.curves for name in item.curves}
    without = {name for item in found if REWARD not in item.curves for name in item.curves}
    return [meaning for name, meaning in _MEANINGS.items() if name in (without if name == "loss" else with_reward)]


def _reinforcement_names(item: Trained) -> tuple[str, ...]:
    parts = sorted(name for name in item.curves if name.startswith(_REWARD_PART) and name not in _NOT_A_PART)
    ordered = (REWARD, *parts, *(name for name in _MEANINGS if name not in {REWARD, "loss"}))
    return tuple(name for name in ordered if name in item.curves)


def _label(name: str) -> str:
    if name in _MEANINGS:
        return _MEANINGS[name][0]
    if name.startswith(_REWARD_PART) and name not in _NOT_A_PART:
        return f"Reward: {wording.words(name.removeprefix(_REWARD_PART))}"
    return wording.words(name).capitalize()


def _figure(run: RunFolder, item: Trained, names: Sequence[str], file: str) -> FigureBlock:
    panels = [TracePanel(_label(name), _traces(run, item.curves[name])) for name in names]
    left_out = sorted(set(item.curves) - {*names, WITHOUT_STEP})
    caption = f"Training of {item.title} ({wording.words(item.kind)}). {_lines_words(run, item)}"
    caption += " Every panel has an axis of its own."
    if left_out:
        caption += f" Not drawn, in training.parquet: {wording.enumeration(left_out)}."
    steps = "generated batch" if REWARD in item.curves else "step"
    svg = training_figures.small_multiples(panels, f"Training of {item.title}", steps)
    return FigureBlock(svg, caption, _legend(run), _file(run, file, dict(zip(names, panels, strict=True))))


def _loss_figure(run: RunFolder, items: Sequence[Trained]) -> FigureBlock:
    panels = [TracePanel(item.short_title, _traces(run, item.curves["loss"])) for item in items]
    caption = f"Loss of supervised fine-tuning over its steps. {_lines_words(run, items[0])}{_sharing(items)}"
    svg = training_figures.small_multiples(panels, "Loss of supervised fine-tuning", "step")
    of_items = {f"loss of {item.title}": panel for item, panel in zip(items, panels, strict=True)}
    return FigureBlock(svg, caption, _legend(run), _file(run, "fine_tuning_loss", of_items))


def _file(run: RunFolder, name: str, panels: Mapping[str, TracePanel]) -> FigureFile:
    """List the points of every panel, by the name of its number; a stage per seed and fold, and their mean."""
    seeds = run.manifest["seeds"]
    rows = [
        {
            "number": number,
            "seed": MEAN_SEED if trace.seed is None else seeds[trace.seed],
            "trace": i,
            "step": step,
            "value": value,
        }
        for number, panel in panels.items()
        for i, trace in enumerate(panel.traces)
        for step, value in trace.points
    ]
    return FigureFile(name, ("number", "seed", "trace", "step", "value"), rows)


def _lines_words(run: RunFolder, item: Trained) -> str:
    folds = len({curve.fold for curves in item.curves.values() for curve in curves})
    each = "seed" if folds == 1 else "seed and fold"
    if folds == 1 and len(run.manifest["seeds"]) == 1:
        return "One training seed."
    return f"Thin: each {each}. Dark: their mean."


def _sharing(items: Sequence[Trained | Summarised]) -> str:
    """Say which methods a short title covers."""
    shared = [f"{item.short_title}: {item.title}" for item in items if len(item.methods) > 1]
    return f" {'; '.join(shared)}." if shared else ""


def _legend(run: RunFolder) -> tuple[tuple[Look | None, str], ...]:
    seeds = run.manifest["seeds"]
    if len(seeds) == 1:
        return ()
    return tuple((Look(training_figures.seed_colour(i), "circle"), f"seed {seed}") for i, seed in enumerate(seeds))


def _traces(run: RunFolder, curves: Sequence[Curve]) -> list[Trace]:
    seeds = [int(seed) for seed in run.manifest["seeds"]]
    traces = [Trace(seeds.index(c.seed), list(zip(c.steps, c.values, strict=True))) for c in curves]
    if len(traces) > 1:
        # The mean ends where the shortest training does.
        common = sorted(set(curves[0].steps).intersection(*(c.steps for c in curves[1:])))
        at = [dict(zip(c.steps, c.values, strict=True)) for c in curves]
        traces.append(Trace(None, [(step, float(np.mean([values[step] for values in at]))) for step in common]))
    return traces


def _progress_table(run: RunFolder, items: Sequence[Trained]) -> Table:
    names = [n for n in (REWARD, "entropy", "kl", "length", "unparsed_rate") if any(n in i.curves for i in items)]
    lines = []
    for item in items:
        batches = max(len(curve.steps) for curve in item.curves[REWARD])
        entries = [Entry(wording.count(batches))]
        for name in names:
            curves = item.curves.get(name, ())
            first, last = (_third(curves, end) for end in (0, -1))
            entries.append(_change(name, first, last))
        lines.append(Line(item.title, tuple(entries)))
    caption = (
        "From the first third of the generated batches to the last: means over batches"
        + (f" and {len(run.manifest['seeds'])} training seeds." if len(run.manifest["seeds"]) > 1 else ".")
        + " Rewards of different kinds can't be compared between methods."
    )
    return Table(caption, ("Method", "Batches", *(_label(name) for name in names)), tuple(lines))


def _third(curves: Sequence[Curve], end: int) -> float:
    """Average over the first (`end` 0) or last (-1) third of the batches, then over the curves."""
    means = []
    for curve in curves:
        n = math.ceil(len(curve.values) / 3)
        means.append(float(np.mean(curve.values[:n] if end == 0 else curve.values[-n:])))
    return float(np.mean(means)) if means else math.nan


def _change(name: str, first: float, last: float) -> Entry:
    if math.isnan(first) or math.isnan(last):
        return Entry(wording.EN_DASH, quiet=True)
    if name == "unparsed_rate":
        return Entry(f"{wording.percent(first)} → {wording.percent(last)}")
    if name == "length":
        return Entry(f"{first:.1f} → {last:.1f}")
    return Entry(f"{wording.number(first)} → {wording.number(last)}")


def clipping(run: RunFolder) -> Section | None:
    """Say whether clipping acted at all: if it did not, methods that differ only in their clip are the same method."""
    items = [item for item in trained(run) if ABOVE in item.curves]
    if not items:
        return None
    lines: list[Line] = []
    void: list[str] = []
    for item in items:
        above = _mean(item.curves[ABOVE])
        is_void = above < LEAST_CLIPPED
        void += item.methods if is_void else ()
        lines.append(
            Line(
                item.title,
                (
                    _share(item.curves[ABOVE]),
                    *(_share(item.curves.get(name, ())) for name in (FREED, "clip_high", "clip_low")),
                    _bound(item.curves.get("upper_bound", ())),
                    Entry(VOID if is_void else "acts"),
                ),
            )
        )
    table = Table(
        "How often clipping acted in policy optimisation: shares of the trajectories' tokens, over all optimisation "
        "steps, the first after each generation included (where the ratio is 1 and nothing can be clipped); means over "
        "batches and seeds. Ratio above 1.2: with positive advantage, so a bound of 0.2 would stop them. Freed: those "
        "of them that the method's own bound lets learn on.",
        ("Method", "Ratio above 1.2", "Freed", "Clipped above", "Clipped below", "Mean upper bound", "Clipping"),
        tuple(lines),
    )
    if void:
        prose = (
            f"{VOID}: below {wording.percent(LEAST_CLIPPED)} of the tokens of {wording.enumeration(void)} had a "
            "ratio that a bound of 0.2 would stop. More passes, smaller mini-batches or a higher learning rate make it "
            "act."
        )
    else:
        prose = f"In every method at least {wording.percent(LEAST_CLIPPED)} of the tokens met the fixed bound."
    return Section("clipping", "Clipping", (Prose(prose), TableBlock(table)))


def _mean(curves: Sequence[Curve]) -> float:
    """Average over batches, then over seeds and folds."""
    return float(np.mean([np.mean(curve.values) for curve in curves]))


def _share(curves: Sequence[Curve]) -> Entry:
    return Entry(f"{100 * _mean(curves):.2f} %") if curves else Entry(wording.EN_DASH, quiet=True)


def _bound(curves: Sequence[Curve]) -> Entry:
    return Entry(wording.number(_mean(curves))) if curves else Entry("fixed", quiet=True)


_CLASSES = ("negative", "positive")


def searches(run: RunFolder) -> Section | None:
    """Show what the searches on training cases found, by class."""
    items = [item for item in summarised(run, "summary.json") if all(_is_search(c) for c in item.contents)]
    if not items:
        return None
    parts = sorted({part for i in items for c in i.contents for name in _CLASSES for part in _best_reward(c, name)})
    parts.sort(key=lambda part: part != "total")  # the total first, the parts in alphabetical order
    lines = [_search_line(item, name, parts) for item in items for name in _CLASSES]
    table = Table(
        "What each search wrote on training cases, all seeds together: trajectories found, how many of them could not "
        "be read, tokens written per case; and of the best trajectory per case the mean reward, its parts, and the "
        "number of features cited. The search knows the labels through the reward, so a high reward is not a result.",
        (
            "Search",
            "Class",
            "Cases",
            "Found",
            "Unparsed",
            "Tokens per case",
            *(f"Best: {wording.words(part)}" for part in parts),
            "Best: cited",
        ),
        tuple(lines),
    )
    panels = [
        training_figures.AnswersPanel(_search_name(item), *(_answers(item, name) for name in _CLASSES))
        for item in items
    ]
    figure = FigureBlock(
        training_figures.answers(panels),
        "Answers of the best trajectory per training case, in tenths: of positive cases upwards, of negative cases "
        "downwards, each panel scaled to its fullest bar. What is learnt from answers pushed towards 0 and 1 is "
        f"over-confident: see calibration.{_sharing(items)}",
        file=FigureFile(
            "search_answers",
            ("search", "class", "tenth", "answers"),
            [
                {"search": panel.title, "class": name, "tenth": tenth, "answers": answers}
                for panel in panels
                for name, counts in (("negative", panel.negative), ("positive", panel.positive))
                for tenth, answers in enumerate(counts, start=1)
            ],
        ),
    )
    return Section("search", "What the search found", (TableBlock(table), figure))


def _search_name(item: Summarised) -> str:
    return f"{item.label} ({item.short_title})"


def _is_search(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(name), dict) and {"cases", "all", "best"} <= content[name].keys() for name in _CLASSES
    )


def _best_reward(content: Mapping[str, Any], name: str) -> Mapping[str, float]:
    return dict(content[name]["best"]["mean_reward"])


def _search_line(item: Summarised, name: str, parts: Sequence[str]) -> Line:
    found = [content[name] for content in item.contents]
    cases = sum(f["cases"] for f in found)
    every = sum(f["all"]["trajectories"] for f in found)
    unparsed = sum(f["all"]["unparsed"] for f in found)
    best = [(f["best"]["trajectories"], f["best"]) for f in found]
    rewards = [_weighted([(n, b["mean_reward"].get(part)) for n, b in best]) for part in parts]
    return Line(
        _search_name(item),
        (
            Entry(name),
            Entry(wording.count(cases)),
            Entry(wording.count(every)),
            Entry(wording.percent(unparsed / every) if every else wording.EN_DASH),
            Entry(f"{sum(f['generated_tokens'] for f in found) / cases:.0f}" if cases else wording.EN_DASH),
            *(Entry(wording.EN_DASH if math.isnan(reward) else wording.number(reward)) for reward in rewards),
            Entry(
                f"{cited:.1f}" if not math.isnan(cited := _weighted([(n, b["mean_cited"]) for n, b in best])) else ""
            ),
        ),
    )


def _weighted(pairs: Sequence[tuple[int, float | None]]) -> float:
    known = [(n, value) for n, value in pairs if value is not None and n]
    return sum(n * value for n, value in known) / sum(n for n, _ in known) if known else math.nan


def _answers(item: Summarised, name: str) -> list[int]:
    return [sum(counts) for counts in zip(*(c[name]["best"]["answers_by_tenth"] for c in item.contents), strict=True)]
