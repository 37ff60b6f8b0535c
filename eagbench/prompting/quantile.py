"""The quantile form of a record: each value as its quantile bin among training cases, one word each.

    sex=male age=q8 heart_rate@24h=q6 heart_rate@48h=q3 lactate@24h=q9
    sex=male age=q8 heart_rate/lowest=q2 heart_rate/highest=q9 lactate/lowest=q9 lactate/highest=q9

What is not listed was not measured. A word has the feature's name, the end of the period if there are several, the
statistic if it isn't the last value, and the bin: of the same statistic among the training cases.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eagbench.config.settings import RecordTextParams, Statistic
from eagbench.contracts.records import Cases, FloatArray
from eagbench.prompting.periods import shown


def key(name: str, statistic: Statistic) -> str:
    """Name a feature's statistic, as its edges and its words do."""
    return name if statistic == "last" else f"{name}/{statistic}"


def bin_of(edges: Sequence[float], value: float) -> str:
    """Write a value's bin; one on an edge is in the upper bin."""
    return f"q{bisect_right(edges, float(value))}"


def fit_edges(cases: Cases, params: RecordTextParams) -> dict[str, tuple[float, ...]]:
    """Find the inner quantile edges of all that the text would show, and of the static facts.

    Args:
        cases: Training cases, unlabelled.
        params: The wording, with `values: quantile`.

    Returns:
        Increasing edges by `key`; what no case has is not there.
    """
    names = cases.feature_names
    found = [shown(case.values_in_order(names), case.times, cases, params)[1] for case in cases]
    columns: dict[str, FloatArray] = {}
    for statistic in params.shows:
        empty = np.empty((0, len(names)), np.float32)
        together = np.concatenate([of_case[statistic] for of_case in found] or [empty])  # (sum of periods, F)
        columns |= {key(name, statistic): column for name, column in zip(names, together.T, strict=True)}
    for name in cases.static_names:
        if name != "sex":
            columns[name] = np.array([case.static.get(name, np.nan) for case in cases], dtype=float)
    probabilities = np.arange(1, params.bins) / params.bins
    known = {name: column[~np.isnan(column)].astype(float) for name, column in columns.items()}
    return {
        name: tuple(float(edge) for edge in np.quantile(values, probabilities))
        for name, values in known.items()
        if len(values)
    }


def words(
    name: str, when: Sequence[str], values: Mapping[Statistic, FloatArray], write: Callable[[Statistic, float], str]
) -> str:
    """Write a feature's values, period by period.

    Args:
        name: What the record calls it.
        when: For each period what names it, behind the name, (P,).
        values: Its values by statistic, (P,) each.
        write: Writes a value of a statistic.
    """
    return " ".join(
        f"{key(name + period, statistic)}={write(statistic, column[i])}"
        for i, period in enumerate(when)
        for statistic, column in values.items()
        if not np.isnan(column[i])
    )


def legend(params: RecordTextParams, window_hours: str) -> str:
    """Say how the words are to be read, in one line.

    Args:
        params: The wording.
        window_hours: The hours that are shown.
    """
    if params.instructions == "short":
        return ""
    further = [statistic for statistic in params.shows if statistic != "last"]
    of_one = {
        None: "@ is the hour of the measurement. ",
        1: f"Each value is the last one of the first {window_hours} hours. ",
    }.get(params.periods, "@ is the end of the period of which the value is the last, in hours. ")
    if further:
        part = f"the first {window_hours} hours" if params.periods == 1 else "the period that ends at @, in hours"
        plain = ", without / the last value" if "last" in params.shows else ""
        of_one = f"{', '.join('/' + statistic for statistic in further)}: of {part}{plain}. "
    return (
        f"Each value is written as its quantile bin among training patients, q0 (lowest) to "
        f"q{params.bins - 1} (highest). {of_one}What is not listed was not measured.\n"
    )
