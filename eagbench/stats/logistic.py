"""Logistic regression on the log odds of a probability, for many rows of case weights at once.

This is the calibration model of Cox, Biometrika 1958: logit P(y = 1) = a + b logit(p). It is fitted by
maximum likelihood with Newton's method, without a penalty. The result equals statsmodels' logistic regression on the
repeated cases.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from scipy.special import logit as _logit

from eagbench.contracts.records import FloatArray, IntArray

# A probability of 0 or 1 has no log odds; it is taken for one this near to it.
NEAREST = 1e-6
_STEPS = 60
_CONVERGED = 1e-9
_LONGEST_STEP = 3.0  # in standard deviations of the log odds: keeps Newton's method from overshooting


def log_odds(probability: FloatArray) -> FloatArray:
    """Compute the natural log odds of probabilities, clipped to [1e-6, 1 - 1e-6]; same shape."""
    odds: FloatArray = _logit(np.clip(probability, NEAREST, 1 - NEAREST))
    return odds


def fit_line(x: FloatArray, label: IntArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit the intercept and slope of the logistic regression of the label on x.

    Args:
        x: Shape (N,).
        label: 0 or 1, shape (N,).
        weights: How often each case counts, shape (B, N).

    Returns:
        Intercept (B,) and slope (B,); NaN for both if no finite maximum exists: there is no case or only one class, or
        x does not vary or separates the classes.
    """
    if not len(x):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    centre, scale = float(np.mean(x)), float(np.std(x)) or 1.0
    z = (np.asarray(x, dtype=np.float64) - centre) / scale  # (N,)
    y = np.asarray(label, dtype=np.float64)
    a, b = _start(y, weights), np.zeros(len(weights))
    active = np.isfinite(a) & (_spread(z, weights) > _CONVERGED)
    converged = np.zeros(len(weights), dtype=bool)
    for _ in range(_STEPS):
        rows = np.flatnonzero(active & ~converged)
        if not len(rows):
            break
        w = weights[rows]
        p = expit(a[rows, None] + b[rows, None] * z)  # (b, N)
        residual, curvature = w * (y - p), w * p * (1 - p)
        g0, g1 = residual.sum(axis=1), residual @ z
        h00, h01, h11 = curvature.sum(axis=1), curvature @ z, curvature @ z**2
        determinant = h00 * h11 - h01**2
        solvable = determinant > 1e-12 * np.maximum(h00 * h11, np.finfo(np.float64).tiny)
        safe = np.where(solvable, determinant, 1.0)
        steps = np.stack([(h11 * g0 - h01 * g1) / safe, (h00 * g1 - h01 * g0) / safe])
        length = np.abs(steps).max(axis=0)
        steps = steps * np.minimum(1.0, _LONGEST_STEP / np.maximum(length, _LONGEST_STEP))
        a[rows] += np.where(solvable, steps[0], 0.0)
        b[rows] += np.where(solvable, steps[1], 0.0)
        converged[rows] = solvable & (length < _CONVERGED)
        active[rows] = solvable
    slope = np.where(converged, b / scale, np.nan)
    return np.where(converged, a - slope * centre, np.nan), slope


def fit_intercept(x: FloatArray, label: IntArray, weights: FloatArray) -> FloatArray:
    """Fit the intercept a of logit P(y = 1) = a + x, with the slope fixed at 1.

    Args:
        x: Log odds, shape (N,).
        label: 0 or 1, shape (N,).
        weights: How often each case counts, shape (B, N).

    Returns:
        Shape (B,); NaN for a row with only one class.
    """
    y = np.asarray(label, dtype=np.float64)
    a = _start(y, weights) - _start(expit(x), weights)
    active = np.isfinite(a)
    a = np.where(active, a, np.nan)
    converged = np.zeros(len(weights), dtype=bool)
    for _ in range(_STEPS):
        rows = np.flatnonzero(active & ~converged)
        if not len(rows):
            break
        p = expit(a[rows, None] + x)
        gradient, curvature = (weights[rows] * (y - p)).sum(axis=1), (weights[rows] * p * (1 - p)).sum(axis=1)
        step = gradient / np.maximum(curvature, np.finfo(np.float64).tiny)
        a[rows] += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        converged[rows] = np.abs(step) < _CONVERGED
    return np.where(converged, a, np.nan)


def _start(y: FloatArray, weights: FloatArray) -> FloatArray:
    """Compute the log odds of the weighted mean of y; infinite or NaN if all are 0, all 1, or none is drawn."""
    total = weights.sum(axis=1, dtype=np.float64)
    mean = np.divide(weights @ y, total, out=np.full(len(weights), np.nan), where=total > 0)
    odds: FloatArray = _logit(mean)
    return odds


def _spread(z: FloatArray, weights: FloatArray) -> FloatArray:
    """Compute the standard deviation of z under each row of weights; NaN if no case is drawn."""
    total = weights.sum(axis=1, dtype=np.float64)
    nan = np.full(len(weights), np.nan)
    mean = np.divide(weights @ z, total, out=nan.copy(), where=total > 0)
    # About each row's own mean: the difference of two large sums would hide that nothing varies.
    variance = np.divide(
        np.einsum("bn,bn->b", weights, (z - mean[:, None]) ** 2), total, out=nan.copy(), where=total > 0
    )
    deviation: FloatArray = np.sqrt(variance)
    return deviation
