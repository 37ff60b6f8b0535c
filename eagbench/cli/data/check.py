"""What `eagbench data check` prints."""

from __future__ import annotations

from eagbench.cli.data.loaded import stored_cohort
from eagbench.contracts.records import Provenance
from eagbench.report.cohort_card.measured import Measured


def check_dataset(name: str, sets: tuple[str, ...]) -> str:
    """Load a data set and summarise what was read.

    Raises:
        UserError: A parameter is wrong, the data can't be read, or no case is left.
    """
    with stored_cohort(name, sets) as cohort:
        measured = Measured.of(cohort.cases)
    cases, provenance = cohort.cases, cohort.provenance
    n_positive = int(cohort.labels.sum())
    stamp = ", SYNTHETIC" if provenance.access == "synthetic" else ""
    lines = [
        f"{name}: {provenance.access}{stamp}",
        f"patients read {provenance.n_patients_read}, cases {len(cases)}, with the outcome {n_positive} "
        f"({n_positive / len(cases):.1%})",
        "left out: " + (", ".join(f"{n} {reason}" for reason, n in provenance.exclusions) or "none"),
        *provenance.notes,
        "",
        f"{'feature':<34} {'unit':<16} {'cases':>7} {'median':>10} {'5 %':>10} {'95 %':>10} {'removed':>8}",
    ]
    for feature, with_value in zip(cases.features, (measured.counts > 0).mean(axis=0), strict=True):
        low, median, high = measured.values[feature.name].quantiles((0.05, 0.5, 0.95))
        removed = provenance.implausible.get(feature.name, 0)
        lines.append(
            f"{feature.name:<34} {feature.unit:<16} {with_value:>7.1%} {median:>10.4g} {low:>10.4g} {high:>10.4g} "
            f"{removed:>8}"
        )
    lines.extend(_result_times(provenance))
    return "\n".join(lines)


def _result_times(provenance: Provenance) -> list[str]:
    """List, by feature, which laboratory values were known too late, and the hours from drawing to knowing."""
    if not provenance.result_times:
        return []
    columns = ("drawn", "known late", "left out", "no time", "lag median", "95 %", "longest")
    lines = ["", f"{'laboratory values, lag in hours':<34}" + "".join(f" {name:>10}" for name in columns)]
    for name, times in provenance.result_times.items():
        lag = ["-"] * 3 if times.lag_hours is None else [f"{hours:.1f}" for hours in times.lag_hours]
        shown = (*(str(n) for n in (times.drawn, times.known_late, times.left_out, times.undated)), *lag)
        lines.append(f"{name:<34}" + "".join(f" {text:>10}" for text in shown))
    return lines
