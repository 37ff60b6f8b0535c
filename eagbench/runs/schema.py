"""What a run folder holds: the names that its writer, its readers and `verify` share (docs/design.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagbench.errors import UserError

# Of the manifest. 2: what inputs show is said in words, metrics say what they declare. Before there was no such key.
FORMAT = 2

RESULT_COLUMNS = (
    "benchmark", "task", "domain_train", "domain_eval", "split", "method", "seed", "condition", "severity",
    "calibration", "subgroup", "metric", "value", "ci_low", "ci_high", "n_cases", "n_positive", "n_unparsed", "status",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "benchmark", "task", "domain_train", "domain_eval", "family", "metric", "condition", "severity", "calibration",
    "method", "baseline", "difference", "ci_low", "ci_high", "relative_percent", "standard_error",
    "smallest_detectable", "p_value", "test", "p_corrected", "correction", "n_cases", "n_positive", "n_seeds",
    "undefined_resamples", "delong_standard_error", "delong_p_value",
)  # fmt: skip
ROBUSTNESS_COLUMNS = (
    "benchmark", "task", "domain_train", "domain_eval", "summary", "metric", "condition", "severity", "calibration",
    "method", "baseline", "value", "ci_low", "ci_high", "standard_error", "smallest_detectable", "p_value",
    "test", "p_corrected", "correction", "n_conditions", "n_methods", "n_cases", "n_positive", "n_seeds",
    "undefined_resamples",
)  # fmt: skip
# Present in a run across domains only: one row per pair of domains, and one per method, metric and such pair.
DOMAINS = "domains.csv"
DOMAIN_COLUMNS = (
    "benchmark", "task", "domain_train", "domain_eval", "task_train", "n_shared", "n_only_train", "n_only_eval",
    "shared", "only_train", "only_eval", "shared_static", "n_train", "prevalence_train", "n_eval", "prevalence_eval",
    "shift_auroc", "shift_auroc_values",
)  # fmt: skip
GAPS = "gaps.csv"
GAP_COLUMNS = (
    "benchmark", "task", "domain_train", "domain_eval", "method", "metric", "in_domain", "cases", "in_domain_value",
    "value", "gap", "ci_low", "ci_high", "standard_error", "smallest_detectable", "p_value", "test", "p_corrected",
    "correction", "undefined_resamples", "n_cases", "n_positive", "n_seeds",
)  # fmt: skip
COST_COLUMNS = ("stage", "kind", "label", "seed", "seconds", "peak_memory_mb", "generated_tokens", "status")
# What asking a server took, where one was asked; a run folder of an earlier version lacks these.
ASKED_COLUMNS = ("prompt_tokens", "completion_tokens", "requests", "answers_from_cache")
KEY_COLUMNS = RESULT_COLUMNS[:9]
# One row per number of a curve that a stage behind a method's predictions left; `stage` is its fingerprint.
TRAINING_COLUMNS = ("method", "seed", "fold", "kind", "label", "stage", "step", "name", "value")
TRAINING = "training.parquet"
# One line per object that such a stage left about what it found: the first six keys, and `file` and `content`.
TRAINING_SUMMARIES = "training_summaries.jsonl"
# Which held-out cases are reported apart: a row per evaluated domain, case and fact. There if subgroups were asked for.
SUBGROUPS = "subgroups.parquet"
# Each method's answers to tuning cases, on which its recalibration was fitted. There if recalibration was asked for.
TUNING_PREDICTIONS = "tuning_predictions.parquet"

_HINT = "give the folder of a finished run (what `eagbench run` named at its end)"
_NEEDED = ("name", "methods", "metrics", "conditions", "data", "intervals", "seeds")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        UserError: The folder is no run folder, or its manifest is damaged.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("this is not a run folder: it has no manifest.json", where=str(folder), hint=_HINT) from error
    except json.JSONDecodeError as error:
        raise UserError(f"this is not JSON: {error}", where=str(path), hint=_HINT) from error
    missing = [key for key in _NEEDED if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise UserError(f"it lacks {', '.join(missing)}", where=str(path), hint=_HINT)
    return dict(manifest)


def reference_expert(manifest: Mapping[str, Any]) -> str | None:
    """Name of the expert whose features the alignment metrics use, as the benchmark says it; None without one."""
    spec = manifest.get("benchmark", {}).get("reference_expert")
    return spec.get("name") if isinstance(spec, dict) else spec
