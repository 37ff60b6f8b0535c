"""A case as text: the record that a policy reads.

The layout follows the code released with EAG-RL (sex and age first, then a line per feature with its values over time,
its unit and its reference range; times in hours; a missing value is NaN). The quantile and the compact form are
eagbench's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from eagbench.config.settings import RecordTextParams, Statistic
from eagbench.contracts.records import Case, Cases, Distractor, Feature, FloatArray, Rendering
from eagbench.prompting import compact, periods, quantile
from eagbench.stats.record_arrays import as_recorded

_FILE = "record_text.json"
_UNKNOWN = "unknown"

# Where a text begins and ends within another, in characters.
Span = tuple[int, int]


class RecordText:
    """Renders cases as text. Quantile edges are fitted on unlabelled training cases; the other forms need no fit.

    Args:
        params: The wording.
        edges: Inner quantile edges of each feature and each static fact, increasing; only for `values: quantile`.
    """

    def __init__(self, params: RecordTextParams, edges: Mapping[str, Sequence[float]] | None = None) -> None:
        self.params = params
        self._edges = {name: tuple(values) for name, values in (edges or {}).items()}

    def fit(self, cases: Cases) -> RecordText:
        """Fit the quantile edges to the values that the text would show.

        Args:
            cases: Training cases, unlabelled.

        Returns:
            Itself.
        """
        if self.params.values != "quantile":
            return self
        self._edges = quantile.fit_edges(cases, self.params)
        return self

    def save(self, folder: Path) -> None:
        """Write the parameters and edges as JSON into `folder`."""
        state = {"params": self.params.model_dump(mode="json"), "edges": self._edges}
        (folder / _FILE).write_text(json.dumps(state, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> RecordText:
        """Load what `save` wrote."""
        state = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(RecordTextParams.model_validate(state["params"]), state["edges"])

    def render(self, case: Case, cases: Cases) -> str:
        """Render the record of a case as text.

        Args:
            case: The case; its features are written in its own order.
            cases: Cases of the same cohort, for the features' units, ranges and the observation window.
        """
        return self.render_with_spans(case, cases)[0]

    def render_with_spans(self, case: Case, cases: Cases) -> tuple[str, dict[str, Span]]:
        """Render the record as `render` does, and also return the span of each feature's text.

        A span covers the feature's name, its values and their description.
        """
        if self.params.values == "quantile":
            separator = " "
            legend = quantile.legend(self.params, _number(cases.task.window_hours))
            text = legend + " ".join(self._static_units(case, cases))
        elif self.params.values == "compact":
            separator = "\n"
            text = self._compact_legend(cases) + " ".join(self._compact_static(case, cases))
        else:
            separator = "\n"
            text = "\n".join([*self._static_lines(case, cases), self._times_line(case, cases)])
        spans = {}
        for name, line in self._feature_lines(case, cases):
            if name is not None:
                start = len(text) + len(separator)
                spans[name] = (start, start + len(line))
            text += separator + line
        return text, spans

    def feature_texts(self, case: Case, cases: Cases) -> dict[str, str]:
        """Return the text of each feature, in the case's order.

        In the quantile and the compact form, a feature without a value has no entry (nor, among quantiles, one that is
        unknown to the training cases). They are meant to be short, and a feature that is not listed was not measured.
        The other forms write NaN.
        """
        return {name: text for name, text in self._feature_lines(case, cases) if name is not None}

    def _feature_lines(self, case: Case, cases: Cases) -> list[tuple[str | None, str]]:
        """Return each feature's name and text in the case's order.

        Distractors are lines without a name, each in its place.
        """
        if self.params.values == "compact":
            return self._compact_lines(case, cases)
        if self.params.values == "quantile":
            return self._quantile_lines(case, cases)
        _, shown = self._shown(case.values, case.times, cases)  # (P,), (P, F)
        described = {feature.name: feature for feature in cases.features}
        lines: list[tuple[str | None, str]] = []
        for position, (name, column) in enumerate(zip(case.features, shown.T, strict=True)):
            lines += self._further_lines(case, cases, position)
            lines.append((name, self._line(described[name], column, case.renderings.get(name))))
        lines += self._further_lines(case, cases, len(case.features))
        return [(name, text) for name, text in lines if text]

    def _quantile_lines(self, case: Case, cases: Cases) -> list[tuple[str | None, str]]:
        times, shown = periods.shown(case.values, case.times, cases, self.params)  # (P,), (P, F) each
        when = [self._when(time) for time in times]
        lines: list[tuple[str | None, str]] = []
        for position, name in enumerate(case.features):
            lines += self._further_lines(case, cases, position)
            # A feature that no training case has measured has no bins.
            known = {s: column[:, position] for s, column in shown.items() if quantile.key(name, s) in self._edges}
            written = case.renderings[name].name if name in case.renderings else name
            lines.append((name, quantile.words(written, when, known, partial(self._bin, name))))
        lines += self._further_lines(case, cases, len(case.features))
        return [(name, text) for name, text in lines if text]

    def _compact_lines(self, case: Case, cases: Cases) -> list[tuple[str | None, str]]:
        times, shown = self._shown(case.values, case.times, cases)  # (P,), (P, F)
        described = {feature.name: feature for feature in cases.features}
        names: list[str | None] = []
        found: list[compact.Measured] = []
        for position in range(len(case.features) + 1):
            for line in self._distractors_before(case, position):
                column = self._shown(line.values[:, None], case.times, cases)[1][:, 0]  # (P,)
                names.append(None)
                found.append(self._measured(line.feature, None, times, column))
            if position < len(case.features):
                name = case.features[position]
                names.append(name)
                written = case.renderings.get(name)
                found.append(self._measured(described[name], written, times, shown[:, position]))
        texts = compact.lines(found, units=self.params.units)
        return [(name, text) for name, text in zip(names, texts, strict=True) if text]

    def _measured(
        self, feature: Feature, written: Rendering | None, times: FloatArray, column: FloatArray
    ) -> compact.Measured:
        marks = [_flag(value, feature.reference).strip().replace("N", "") for value in column]
        return compact.measured(feature, written or Rendering(feature.name, feature.unit), times, column, marks)

    @staticmethod
    def _distractors_before(case: Case, position: int) -> list[Distractor]:
        # A record that was restricted to fewer features may have lost the one that a line stood before.
        return [line for line in case.distractors if min(line.before, len(case.features)) == position]

    def _further_lines(self, case: Case, cases: Cases, position: int) -> list[tuple[None, str]]:
        here = self._distractors_before(case, position)
        return [(None, self._further_line(line, case, cases)) for line in here]

    def _further_line(self, line: Distractor, case: Case, cases: Cases) -> str:
        if self.params.values == "quantile":
            # The training cases have no quantiles of it: the number itself stands there.
            times, found = periods.shown(line.values[:, None], case.times, cases, self.params)
            columns = {statistic: column[:, 0] for statistic, column in found.items()}
            when = [self._when(time) for time in times]
            return quantile.words(line.feature.name, when, columns, lambda _, value: _number(value))
        _, shown = self._shown(line.values[:, None], case.times, cases)  # (P,), (P, 1)
        return self._line(line.feature, shown[:, 0])

    def _shown(self, values: FloatArray, times: FloatArray, cases: Cases) -> tuple[FloatArray, FloatArray]:
        """Select the times (P,) and the values (P, F) that a text without other statistics shows; see `periods`."""
        times, found = periods.shown(values, times, cases, self.params)
        return times, found["last"]

    def _line(self, feature: Feature, column: FloatArray, written: Rendering | None = None) -> str:
        shown = written or Rendering(feature.name, feature.unit)
        flagged = self.params.values == "flagged"
        values = [
            _number(value * shown.factor + shown.offset) + (_flag(value, feature.reference) if flagged else "")
            for value in column
        ]
        notes = []
        if self.params.units and shown.unit != "1":
            notes.append(shown.unit)
        if self.params.reference_ranges and feature.reference != (None, None):
            low, high = (None if x is None else x * shown.factor + shown.offset for x in feature.reference)
            notes.append(f"reference {_range((low, high))}")
        described = f" ({'; '.join(notes)})" if notes else ""
        return f"{shown.name}{described}: {', '.join(values) or 'NaN'}"

    def _times_line(self, case: Case, cases: Cases) -> str:
        window = _number(cases.task.window_hours)
        if self.params.periods is None:
            hours = ", ".join(_number(time) for time in case.times) or "none"
            return f"Hours since the start of observation (the first {window} hours are shown): {hours}"
        ends = np.arange(self.params.periods + 1) * cases.task.window_hours / self.params.periods
        parts = [f"{_number(start)} to {_number(end)}" for start, end in pairwise(ends)]
        return f"Hours since the start of observation (the last value in each part is shown): {', '.join(parts)}"

    def _static_lines(self, case: Case, cases: Cases) -> list[str]:
        age = case.static.get("age", np.nan)
        lines = [f"Sex: {_sex(case)}", f"Age: {_UNKNOWN if np.isnan(age) else f'{_number(age)} years'}"]
        for name in cases.static_names:
            if name not in ("sex", "age"):
                lines.append(f"{name}: {_number(case.static.get(name, np.nan))}")
        return lines

    def _static_units(self, case: Case, cases: Cases) -> list[str]:
        units = [f"sex={_sex(case)}"]
        for name in ("age", *(name for name in cases.static_names if name not in ("sex", "age"))):
            value = case.static.get(name, np.nan)
            known = name in self._edges and not np.isnan(value)
            units.append(f"{name}={self._bin(name, 'last', value) if known else _UNKNOWN}")
        return units

    def _compact_static(self, case: Case, cases: Cases) -> list[str]:
        """Write what is known: `sex=male age=65 years height=170`."""
        facts = {name: case.static.get(name, np.nan) for name in ("sex", "age", *cases.static_names)}
        written = {"sex": _sex(case), "age": f"{_number(facts['age'])} years"}
        return [f"{name}={written.get(name, _number(value))}" for name, value in facts.items() if not np.isnan(value)]

    def _compact_legend(self, cases: Cases) -> str:
        if self.params.instructions == "short":
            return ""
        return compact.legend(_number(cases.task.window_hours), self.params.periods)

    def _when(self, time: float) -> str:
        return "" if self.params.periods == 1 else f"@{_number(time)}h"

    def _bin(self, name: str, statistic: Statistic, value: float) -> str:
        return quantile.bin_of(self._edges[quantile.key(name, statistic)], value)


def _sex(case: Case) -> str:
    sex = case.static.get("sex", np.nan)
    return _UNKNOWN if np.isnan(sex) else ("male" if sex >= 0.5 else "female")


def _number(value: float) -> str:
    """Format a number with four significant digits, without an exponent.

    Values are float32, so further digits are noise.
    """
    if np.isnan(value):
        return "NaN"
    return np.format_float_positional(float(value), precision=4, unique=False, fractional=False, trim="-")


def _flag(value: float, reference: tuple[float | None, float | None]) -> str:
    low, high = reference
    if np.isnan(value) or (low is None and high is None):
        return ""
    recorded = as_recorded(value)
    if low is not None and recorded < as_recorded(low):
        return " L"
    return " H" if high is not None and recorded > as_recorded(high) else " N"


def _range(reference: tuple[float | None, float | None]) -> str:
    low, high = ("" if limit is None else _number(limit) for limit in reference)
    if not low:
        return f"at most {high}"
    return f"{low} to {high}" if high else f"at least {low}"
