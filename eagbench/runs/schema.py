"""The contents of a run folder: the names shared by its writer, its readers and `verify` (docs/design.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagbench.contracts.stages import content_hash
from eagbench.errors import UserError
from eagbench.execution.newer_formats import refuse_newer

# Manifest format. 2: says in words what inputs show, and what metrics declare. 3: says which stages each cell and each
# reference comes from, and holds its own hash. Earlier manifests lack this key.
FORMAT = 3
OWN_HASH = "manifest_sha256"

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
# Only in a run across domains: one row per pair of domains, and one per method, metric and such pair.
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
# The cost of server requests, if there were any; run folders of earlier versions lack these.
ASKED_COLUMNS = ("prompt_tokens", "completion_tokens", "requests", "answers_from_cache")
# Why texts could not be read, in numbers of texts: a column where a stage counted one.
COUNTED_COLUMNS = ("truncated_thought", "too_long")
KEY_COLUMNS = RESULT_COLUMNS[:9]
# The status of a row of an exported bundle whose numbers were left out because they are about a few cases.
SUPPRESSED = "suppressed"
# One row per number in a curve left by a stage behind a method's predictions; `stage` is its fingerprint.
TRAINING_COLUMNS = ("method", "seed", "fold", "kind", "label", "stage", "step", "name", "value")
TRAINING = "training.parquet"
# One line per object in which such a stage summed up what it found: the first six keys, `file` and `content`.
TRAINING_SUMMARIES = "training_summaries.jsonl"
# The subgroups of held-out cases: a row per evaluated domain, case and fact. Only if the benchmark wants subgroups.
SUBGROUPS = "subgroups.parquet"
# Each method's answers to tuning cases, on which its recalibration was fitted. Only if the benchmark recalibrates.
TUNING_PREDICTIONS = "tuning_predictions.parquet"

# Says whose run a folder holds until it is finished: it is there before any other file, and removed after the last.
MARKER = ".eagbench-run"

_HINT = "give the folder of a finished run (what `eagbench run` named at its end)"
_AGAIN = "run the same `eagbench run` command again: it goes on where the run ended"
_NEEDED = ("name", "methods", "metrics", "conditions", "data", "intervals", "seeds")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder.

    Raises:
        UserError: The folder is not a run folder, its manifest is damaged, or a newer eagbench wrote it.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if (folder / MARKER).is_file():
            raise UserError("this run was not finished", where=str(folder), hint=_AGAIN) from error
        raise UserError("this is not a run folder: it has no manifest.json", where=str(folder), hint=_HINT) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, numbers or brackets without end
        raise UserError(f"this is not JSON: {error}", where=str(path), hint=_HINT) from error
    if isinstance(manifest, dict):
        refuse_newer(manifest, FORMAT, "this run folder", path)
    missing = [key for key in _NEEDED if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise UserError(f"it lacks {', '.join(missing)}", where=str(path), hint=_HINT)
    return dict(manifest)


def own_hash(manifest: Mapping[str, Any]) -> str:
    """Hash what a manifest says, but its own hash."""
    said = json.loads(json.dumps({key: value for key, value in manifest.items() if key != OWN_HASH}))
    return content_hash(said)


def reference_expert(manifest: Mapping[str, Any]) -> str | None:
    """Name the expert whose features the alignment metrics use, as in the benchmark; None without one."""
    spec = manifest.get("benchmark", {}).get("reference_expert")
    return spec.get("name") if isinstance(spec, dict) else spec
