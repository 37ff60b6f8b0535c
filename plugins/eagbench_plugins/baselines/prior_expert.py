"""The stage `prior_expert`: a logistic regression whose columns and penalty follow a policy's prior.

x_fk is statistic k of feature f over the window, standardised on the training cases; a missing value is filled with the
training median, and so is a count of 0 where at least 99.5 % of the training cases have the feature. r_f is the
policy's relevance of feature f, and c_fg its correlation of features f and g.

    neighbours   N(f) = the `neighbours` features of largest c_fg, in canonical order where two are equal
    smoothing    u_fk = (1 - alpha) x_fk + alpha sum_{g in N(f)} c_fg s_fgk x_gk / sum_{g in N(f)} c_fg
    columns      z_fk = u_fk, standardised again
    objective    sum_i log(1 + exp(-y_i f(z_i))) + 1/(2 C) sum_fk b_fk^2 / rho_f,    rho_f = r_f / mean(r)

s_fgk is the sign of the correlation of x_fk and x_gk on the training cases, because the policy rates the strength only.
Static facts are separate columns: not smoothed, rho = 1. Relevances are divided by their mean so that C means the same
whatever their level. C is chosen inside the training cases (`logistic_head`). The other quantities fitted on the
training cases (median, mean, scale, sign) do not use the labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from eagbench.api import BoolArray, Cases, FloatArray, StageRun, TrainingData, complete_features, time_grid
from eagbench_plugins.baselines.elicitation import FeaturePrior
from eagbench_plugins.baselines.logistic_head import LogisticHead

STATISTICS = ("mean", "min", "max", "last", "count")
_FILE = "prior_expert.json"


@dataclass(frozen=True, slots=True, eq=False)
class PriorExpert:
    """The fitted expert.

    Attributes:
        periods: Number of parts of the window.
        median: Median of each statistic, shape (K, F); 0 where a feature was never measured in training.
        always_counted: Whether a statistic is the count of a feature that at least 99.5 % of the training cases have,
            shape (K, F). As it was never 0 there, a 0 counts as missing.
        mean: Mean of each statistic after filling, shape (K, F).
        scale: Standard deviation of each statistic after filling, shape (K, F); infinite for a constant one.
        static_median: Median of each static fact, shape (S,).
        mixing: Smoothing matrix of each statistic, shape (K, F, F): u_k = mixing_k x_k.
        head: The head on the K * F smoothed columns and the S static facts.
    """

    periods: int
    median: FloatArray
    always_counted: BoolArray
    mean: FloatArray
    scale: FloatArray
    static_median: FloatArray
    mixing: FloatArray
    head: LogisticHead

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        measured = _without_zero_counts(statistics(cases, self.periods), self.always_counted)
        standardised = (_filled(measured, self.median) - self.mean) / self.scale  # (N, K, F)
        return self.head.predict(_columns(standardised, self.mixing, _filled(_static(cases), self.static_median)))

    def save(self, folder: Path) -> None:
        """Write `prior_expert.json` and the head's file."""
        content = {
            "periods": self.periods,
            "median": self.median.tolist(),
            "always_counted": self.always_counted.tolist(),
            "mean": self.mean.tolist(),
            "scale": [[value if np.isfinite(value) else None for value in row] for row in self.scale.tolist()],
            "static_median": self.static_median.tolist(),
            "mixing": self.mixing.tolist(),
        }
        (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")
        self.head.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(
            periods=content["periods"],
            median=np.array(content["median"]),
            always_counted=np.array(content["always_counted"], dtype=np.bool_),
            mean=np.array(content["mean"]),
            scale=np.array([[np.inf if value is None else value for value in row] for row in content["scale"]]),
            static_median=np.array(content["static_median"]),
            mixing=np.array(content["mixing"]),
            head=LogisticHead.load(folder),
        )


def fit_prior_expert(run: StageRun) -> None:
    """Fit on the training cases and save. Tuning cases are not used."""
    data: TrainingData = run.inputs["training"]
    cases, labels = data.train.cases, data.train.labels
    prior = FeaturePrior.load(run.inputs["prior"])
    is_count, always = np.array(STATISTICS) == "count", np.isin(cases.feature_names, complete_features(cases))
    always_counted = is_count[:, None] & always  # (K, F)
    measured = _without_zero_counts(statistics(cases, run.params["periods"]), always_counted)  # (N, K, F)
    median = _medians(measured)
    filled = _filled(measured, median)
    mean, spread = filled.mean(axis=0), filled.std(axis=0)
    scale = np.where(spread > 1e-9 * np.maximum(np.abs(mean), 1.0), spread, np.inf)
    standardised = (filled - mean) / scale
    mixing = mixing_matrices(standardised, prior.correlation, run.params["smoothing"], run.params["neighbours"])
    static_median = _medians(_static(cases))
    columns = _columns(standardised, mixing, _filled(_static(cases), static_median))
    head = LogisticHead.fit(
        columns, penalty_weights(prior.relevance, len(static_median)), labels, cases.patient_ids, run.seed
    )
    PriorExpert(run.params["periods"], median, always_counted, mean, scale, static_median, mixing, head).save(run.out)


def statistics(cases: Cases, periods: int) -> FloatArray:
    """Compute mean, minimum, maximum, last and count of the last values in equal parts of the window.

    Returns:
        Shape (N, K, F), NaN where a feature was never measured, except that its count is 0.
    """
    grid = time_grid(cases, periods).astype(np.float64)  # (N, P, F)
    seen = ~np.isnan(grid)
    count = seen.sum(axis=1).astype(np.float64)  # (N, F)
    mean = np.where(count > 0, np.where(seen, grid, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
    latest = periods - 1 - seen[:, ::-1].argmax(axis=1)  # (N, F)
    last = np.take_along_axis(grid, latest[:, None], axis=1)[:, 0]
    # fmin and fmax ignore NaN unless there is nothing else.
    return np.stack([mean, np.fmin.reduce(grid, axis=1), np.fmax.reduce(grid, axis=1), last, count], axis=1)


def mixing_matrices(standardised: FloatArray, correlation: FloatArray, smoothing: float, neighbours: int) -> FloatArray:
    """Build the matrix that smooths the columns over the graph, for each statistic.

    Args:
        standardised: x, shape (N, K, F).
        correlation: c, shape (F, F), diagonal ignored.
        smoothing: alpha.
        neighbours: Size of N(f).

    Returns:
        Shape (K, F, F).
    """
    n_features = len(correlation)
    strength = np.where(np.eye(n_features, dtype=bool), -np.inf, correlation)
    nearest = np.argsort(-strength, axis=1, kind="stable")[:, : min(neighbours, n_features - 1)]  # (F, neighbours)
    share = np.zeros((n_features, n_features))
    np.put_along_axis(share, nearest, np.take_along_axis(correlation, nearest, axis=1), axis=1)
    total = share.sum(axis=1, keepdims=True)
    # A feature without any related one keeps its own column.
    share = np.where(total > 0, share / np.where(total > 0, total, 1.0), np.eye(n_features))
    covariance = np.einsum("nkf,nkg->kfg", standardised, standardised)
    sign = np.where(np.eye(n_features, dtype=bool), 1.0, np.sign(covariance))
    return np.asarray((1 - smoothing) * np.eye(n_features) + smoothing * share * sign)


def penalty_weights(relevance: FloatArray, n_static: int) -> FloatArray:
    """Compute the head's weight per column, sqrt(rho). Shape (K * F + S,)."""
    rho = relevance / relevance.mean()
    return np.concatenate([np.tile(np.sqrt(rho), len(STATISTICS)), np.ones(n_static)])


def _columns(standardised: FloatArray, mixing: FloatArray, static: FloatArray) -> FloatArray:
    """Build the head's columns: smoothed statistics, then static facts. Shape (N, K * F + S)."""
    smoothed = np.einsum("kfg,nkg->nkf", mixing, standardised)
    return np.concatenate([smoothed.reshape(len(smoothed), mixing.shape[0] * mixing.shape[1]), static], axis=1)


def _static(cases: Cases) -> FloatArray:
    """Collect the static facts, NaN where unknown. Shape (N, S)."""
    table = [[case.static.get(name, np.nan) for name in cases.static_names] for case in cases]
    return np.array(table, dtype=float).reshape(len(cases), len(cases.static_names))


def _medians(values: FloatArray) -> FloatArray:
    """Compute the median of the known values over the cases, 0 where none is known. Shape of one case."""
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    medians = [float(np.median(c[seen])) if seen.any() else 0.0 for c, seen in zip(flat.T, known.T, strict=True)]
    return np.array(medians).reshape(values.shape[1:])


def _without_zero_counts(values: FloatArray, always_counted: BoolArray) -> FloatArray:
    """Make a count of 0 missing where training had none. Shape (N, K, F)."""
    return np.where(always_counted & (values == 0), np.nan, values)


def _filled(values: FloatArray, median: FloatArray) -> FloatArray:
    return np.where(np.isnan(values), median, values)
