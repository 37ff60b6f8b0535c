"""A run folder as the runner writes it, from simulated predictions that the project's own metrics score.

Also a script, to look at a report: `python tests/core/report/conftest.py FOLDER`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.analysis.evaluation import unparsed_variants
from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.answers import ScoredCases
from eagbench.metrics.attention import CitationJaccard
from eagbench.metrics.calibration import Brier, ExpectedCalibrationError
from eagbench.metrics.discrimination import Auprc, Auroc
from eagbench.metrics.unparsed import UnparsedRate
from eagbench.runs.reader import RunFolder
from eagbench.stats.bootstrap import patient_weights, percentile_interval

FEATURES = (
    ("heart_rate", "Heart rate", "beats/min"), ("systolic_blood_pressure", "Systolic blood pressure", "mmHg"),
    ("respiratory_rate", "Respiratory rate", "breaths/min"), ("oxygen_saturation", "Oxygen saturation", "%"),
    ("temperature", "Temperature", "°C"), ("gcs_total", "Glasgow Coma Scale", "1"), ("lactate", "Lactate", "mmol/L"),
    ("creatinine", "Creatinine", "mg/dL"), ("urea_nitrogen", "Urea nitrogen", "mg/dL"),
    ("platelets", "Platelets", "K/uL"), ("white_cells", "White blood cells", "K/uL"),
    ("haemoglobin", "Haemoglobin", "g/dL"), ("bilirubin", "Bilirubin", "mg/dL"),
    ("sodium", "Sodium", "mmol/L"), ("potassium", "Potassium", "mmol/L"), ("glucose", "Glucose", "mg/dL"),
)  # fmt: skip
METRICS = {
    m.name: m(m.Params()) for m in (Auroc, Auprc, Brier, ExpectedCalibrationError, CitationJaccard, UnparsedRate)
}
# label, what it reads, skill, over-confidence, loss of skill per perturbation, share of unparsed answers
METHODS = (
    ("logistic_regression", "columns", 1.15, 1.0, {"feature_order_positional": 0.95, "missing_values": 0.5}, 0.0),
    ("lightgbm", "columns", 1.45, 1.1, {"feature_order_positional": 0.85, "missing_values": 0.35}, 0.0),
    ("concare", "columns", 1.30, 1.5, {"feature_order_positional": 0.9, "missing_values": 0.6}, 0.0),
    ("prompt_think_answer", "text", 0.35, 2.2, {"feature_order": 0.2, "missing_values": 0.4}, 0.06),
    ("prompt_question_decomposition", "text", 0.5, 2.0, {"feature_order": 0.25, "missing_values": 0.4}, 0.025),
    ("eag_rl", "text", 1.05, 1.3, {"feature_order": 0.12, "missing_values": 0.35}, 0.002),
)
CONDITIONS = (
    ("clean", None, ""),
    *(("feature_order", s, "The features are listed in another order, with their names") for s in (0.2, 0.4, 0.6, 1.0)),
    *(("feature_order_positional", s, "The same change of order, but the names stay") for s in (0.2, 0.4, 0.6, 1.0)),
    *(("missing_values", s, "A share of the measured values is removed") for s in (0.1, 0.3, 0.5)),
)  # fmt: skip
COLUMNS = (
    "benchmark", "task", "domain_train", "domain_eval", "split", "method", "seed", "condition", "severity",
    "calibration", "subgroup", "metric", "value", "ci_low", "ci_high", "n_cases", "n_positive", "n_unparsed", "status",
)  # fmt: skip


def measure(folder: Path, *metrics: MetricUse) -> None:
    """Says in a manifest that the run measured further metrics."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["metrics"] += [use.record() for use in metrics]
    (folder / "manifest.json").write_text(json.dumps(manifest))


class SimulatedRun:
    """Builds the files of a run folder.

    Attributes:
        label: Truth per held-out case.
        latent: The risk that generated it, on the scale of log odds.
    """

    def __init__(self, cases: int, seeds: tuple[int, ...], resamples: int, methods=METHODS) -> None:
        rng = np.random.default_rng(2)
        self.seeds, self.methods, self.resamples = seeds, methods, resamples
        self.patient = np.array([f"p{i:05d}" for i in rng.integers(0, int(cases * 0.9), cases)])
        self.latent = 1.6 * rng.normal(size=cases) - 2.6
        self.label = (rng.random(cases) < 1 / (1 + np.exp(-self.latent))).astype(int)
        self.weights = patient_weights(self.patient, resamples, seed=0)
        risky = rng.random((cases, len(FEATURES))) + np.linspace(1.1, 0, len(FEATURES))
        self.reference = [frozenset(FEATURES[j][0] for j in np.argsort(-row)[:5]) for row in risky]
        self.rows: list[dict[str, object]] = []
        self.tables: dict[str, list[dict[str, object]]] = {}

    def answers(self, method, seed: int, condition: str, severity: float | None) -> ScoredCases:
        label, reads, skill, confidence, losses, unparsed = method
        text = f"{label}/{seed}/{condition if condition in losses else 'clean'}"
        rng = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
        kept = skill * (1 - losses.get(condition, 0.0) * (severity or 0.0))
        centred = (self.latent + 2.6) / 1.6
        score = kept * centred + rng.normal(size=len(centred))
        logit = -2.4 + confidence * 1.3 * score * kept / (kept**2 + 1) * 1.5
        probability = 1 / (1 + np.exp(-logit))
        parsed = rng.random(len(centred)) >= unparsed * (1 + 3 * (severity or 0.0))
        cited = None
        if reads == "text":
            probability = np.round(probability, 1)  # answers of a language model are coarse
            names = [name for name, _, _ in FEATURES]
            same = 0.55 if label == "eag_rl" else 0.2
            cited = tuple(
                frozenset([f for f in sorted(t) if rng.random() < same] + list(rng.choice(names[:9], 3)) if ok else ())
                for t, ok in zip(self.reference, parsed, strict=True)
            )  # fmt: skip
        probability = np.where(parsed, probability, 0.125)
        return ScoredCases(probability, self.label, parsed, cited, tuple(self.reference))

    def key(self, method: str, seed: object, condition: str, severity: float | None) -> dict[str, object]:
        return {
            "benchmark": "mimic_robustness", "task": "in_hospital_mortality", "domain_train": "mimic4",
            "domain_eval": "mimic4", "split": "held_out", "method": method, "seed": seed, "condition": condition,
            "severity": severity,
        }  # fmt: skip

    def add_rows(self, key, resamples: dict[str, np.ndarray], points: dict[str, float], unparsed: float) -> None:
        for metric, point in points.items():
            low, high = percentile_interval(resamples[metric], 0.95)
            status = "undefined" if np.isnan(point) else "ok"
            numbers = {"value": point, "ci_low": low, "ci_high": high}
            self.rows.append(
                {**key, "calibration": "none", "subgroup": "all", "metric": metric}
                | {name: "" if np.isnan(v) else repr(float(v)) for name, v in numbers.items()}
                | {"n_cases": len(self.label), "n_positive": int(self.label.sum())}
                | {"n_unparsed": unparsed, "status": status}
            )  # fmt: skip

    def score(self, scored: ScoredCases) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        ones = np.ones((1, len(self.label)))
        resamples, points = {}, {}
        for name, metric in METRICS.items():
            resamples[name], points[name] = metric(scored, self.weights), float(metric(scored, ones)[0])
            if metric.traits.reads_probability:
                for suffix, v in unparsed_variants(scored).items():
                    resamples[f"{name}:{suffix}"] = metric(v.scored, self.weights[:, v.columns])
                    points[f"{name}:{suffix}"] = float(metric(v.scored, ones[:, v.columns])[0])
        return resamples, points

    def keep(self, key, scored: ScoredCases, mode: str) -> None:
        def lists(values):
            return [None] * len(self.label) if values is None else [sorted(v) for v in values]

        for i, (cited, teacher) in enumerate(zip(lists(scored.cited), lists(scored.reference), strict=True)):
            self.tables.setdefault(key["method"], []).append(
                {**key, "case_id": f"c{i:05d}", "patient_id": self.patient[i], "fold": 0,
                 "probability": float(scored.probability[i]), "parsed": bool(scored.parsed[i]), "answer_mode": mode,
                 "label": int(scored.label[i]), "cited_features": cited, "teacher_features": teacher}
            )  # fmt: skip

    def fill(self) -> None:
        for method in self.methods:
            label, reads = method[0], method[1]
            for condition, severity, _ in CONDITIONS:
                if condition == "feature_order_positional" and reads == "text":
                    self.empty(label, condition, severity, "not_applicable")
                    continue
                if (label, condition, severity) == ("prompt_think_answer", "missing_values", 0.5):
                    self.empty(label, condition, severity, "failed")
                    continue
                scores = []
                for seed in self.seeds:
                    scored = self.answers(method, seed, condition, severity)
                    resamples, points = self.score(scored)
                    key = self.key(label, seed, condition, severity)
                    self.add_rows(key, resamples, points, int((~scored.parsed).sum()))
                    self.keep(key, scored, "model" if reads == "columns" else "expectation")
                    scores.append((resamples, points, int((~scored.parsed).sum())))
                names = dict.fromkeys(name for _, points, _ in scores for name in points)

                def of(values, name):  # a seed that parsed every answer has no variants of its own
                    return values[name if name in values else name.partition(":")[0]]

                self.add_rows(
                    self.key(label, "mean", condition, severity),
                    {name: np.mean([of(r, name) for r, _, _ in scores], axis=0) for name in names},
                    {name: float(np.mean([of(p, name) for _, p, _ in scores])) for name in names},
                    sum(n for _, _, n in scores),
                )
        oracle = ScoredCases(1 / (1 + np.exp(-self.latent)), self.label, np.ones(len(self.label), dtype=bool))
        resamples, points = self.score(oracle)
        key = self.key("oracle", "mean", "clean", None)
        self.add_rows(key, resamples, points, 0)
        self.keep(self.key("oracle", 0, "clean", None), oracle, "reference")

    def empty(self, label: str, condition: str, severity: float | None, status: str) -> None:
        for seed in (*self.seeds, "mean"):
            for metric in METRICS:
                self.rows.append(
                    {**self.key(label, seed, condition, severity), "calibration": "none", "subgroup": "all",
                     "metric": metric, "value": "", "ci_low": "", "ci_high": "", "n_cases": "", "n_positive": "",
                     "n_unparsed": "",
                     "status": status}
                )  # fmt: skip

    def manifest(self, synthetic: bool) -> dict[str, object]:
        n, events = len(self.label), int(self.label.sum())
        shares = (("train", 0.7), ("tuning", 0.1), ("held_out", 0.2))
        parts = [
            {"fold": 0, "part": part, "n_cases": round(n * share / 0.2), "n_patients": round(n * share / 0.2 * 0.6),
             "n_positive": round(events * share / 0.2), "patients_sha256": hashlib.sha256(part.encode()).hexdigest()}
            for part, share in shares
        ]  # fmt: skip
        stages = [
            {"fingerprint": hashlib.sha256(f"{kind}{label}{seed}".encode()).hexdigest(), "kind": kind, "label": label,
             "seed": seed, "status": "computed"}
            for label, *_ in self.methods for seed in self.seeds for kind in ("expert", "predict", "score")
        ]  # fmt: skip
        return {
            "eagbench_version": "0.1.0",
            "name": "mimic_robustness",
            "created": "2026-11-22T12:00:00+00:00",
            "benchmark": {
                "name": "mimic_robustness",
                "description": "Does a language model lose less than an expert when records change shape?",
                "data": {"name": "mimic4", "root": "synthetic", "task": "in_hospital_mortality", "window_hours": 48},
                "reference_expert": "concare",
                "methods": [m[0] for m in self.methods],
            },
            "limit": None,
            "profile": None,
            "synthetic": synthetic,
            "access": "synthetic" if synthetic else "open",
            "data": {
                "mimic4": {
                    "source": "MIMIC-IV (generated)" if synthetic else "MIMIC-IV",
                    "access": "synthetic" if synthetic else "credentialed",
                    "citation": "Johnson et al., MIMIC-IV, PhysioNet 2024. Generated by eagbench.",
                    "patient_is_stay": False,
                    "n_patients_read": 2100,
                    "n_patients": round(n / 0.2 * 0.6),
                    "n_cases": round(n / 0.2),
                    "n_positive": round(events / 0.2),
                    "exclusions": [["younger than 18 years", 31], ["stay shorter than 48 h", 412]],
                    "implausible": {"temperature": 12, "heart_rate": 3},
                    "result_times": {
                        FEATURES[0][0]: {"drawn": 1200, "known_late": 31, "left_out": 31, "undated": 4,
                                         "lag_hours": [0.73, 2.09, 5.5]},
                        FEATURES[1][0]: {"drawn": 2, "known_late": 0, "left_out": 0, "undated": 2, "lag_hours": None},
                    },
                    "notes": ["Stays of one patient stay together in every part."],
                    "features": [{"name": a, "label": b, "unit": c} for a, b, c in FEATURES],
                    "static_names": ["age", "sex"],
                    "task": {"name": "in_hospital_mortality", "outcome": "die before leaving the hospital",
                             "role": "an intensive care physician", "window_hours": 48.0},
                    "content": hashlib.sha256(b"records").hexdigest(),
                }
            },
            "split": {"train": 0.7, "tuning": 0.1, "held_out": 0.2, "seed": 0},
            "parts": parts,
            "methods": [{"label": m[0], "name": m[0], "reads": m[1], "params": {}} for m in self.methods],
            "conditions": [
                {"name": c, "severity": s, "description": d, "severity_unit": None} for c, s, d in CONDITIONS
            ],
            "metrics": [MetricUse.registered(name, {}).record() for name in METRICS],
            "seeds": list(self.seeds),
            "stages": stages,
            "failed": [
                {"method": "prompt_think_answer", "seed": seed, "condition": "missing_values", "severity": 0.5,
                 "stage": "predict", "reason": "RuntimeError: the context of 2,048 tokens is too short for 3 cases"}
                for seed in self.seeds
            ],
            "versions": {"python": "3.12.8", "torch": "2.15.0", "transformers": "5.23.0", "trl": "1.16.0"},
            "git": {"commit": "3f1c9d0a5b7e4c2288aa90d1e6f7b3c4d5e6f708", "dirty": False},
            "hardware": {"cpu": "AMD EPYC", "cores": 2, "memory_gb": 23, "gpu": None},
            "intervals": {"resamples": self.resamples, "level": 0.95, "seed": 0},
        }  # fmt: skip

    def write(self, folder: Path, *, synthetic: bool = True, **changes) -> Path:
        (folder / "predictions").mkdir(parents=True)
        with (folder / "results.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        for method, rows in self.tables.items():
            schema = pa.Table.from_pylist(rows[:1]).schema
            for column in ("cited_features", "teacher_features"):
                schema = schema.set(schema.get_field_index(column), pa.field(column, pa.list_(pa.string())))
            schema = schema.set(schema.get_field_index("severity"), pa.field("severity", pa.float64()))
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "predictions" / f"{method}.parquet")
        with (folder / "costs.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(
                ["stage", "kind", "label", "seed", "seconds", "peak_memory_mb", "generated_tokens", "status"]
            )
            writer.writerow(["a1", "cohort", "mimic4", 0, 21.5, 910.2, 0, "computed"])
            for label, reads, *_ in self.methods:
                writer.writerow(["b", "expert", label, 0, 14.25, 700, 0, "computed"])
                writer.writerow(["c", "predict", label, 0, 33.0, 1200, 52_000 if reads == "text" else 0, "computed"])
                writer.writerow(["d", "score", label, 0, "", "", "", "reused"])
            writer.writerow(["e", "predict", "prompt_think_answer", 0, 3.0, 1200, 800, "failed"])
        (folder / "manifest.json").write_text(json.dumps(self.manifest(synthetic) | changes), encoding="utf-8")
        return folder


@pytest.fixture(scope="session")
def simulated_run() -> SimulatedRun:
    run = SimulatedRun(cases=250, seeds=(0, 1), resamples=120)
    run.fill()
    return run


if __name__ == "__main__":
    from eagbench.report.html import write_report

    whole = SimulatedRun(cases=1200, seeds=(0, 1, 2), resamples=1000)
    whole.fill()
    print(write_report(RunFolder(whole.write(Path(sys.argv[1])))))
