"""The parts of a run folder that a comparison with another run needs: its manifest and its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eagbench.analysis.cells import ConditionKey
from eagbench.analysis.metric_uses import MetricUse, present_name
from eagbench.config.benchmark import Benchmark
from eagbench.runs.predictions import Place, Seeds, has_predictions, read_predictions
from eagbench.runs.schema import read_manifest, reference_expert

Answers = Mapping[Place, Seeds]


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRun:
    """The parts of a run folder that a comparison needs.

    Attributes:
        folder: The run folder.
        manifest: Its manifest.
        labels: Labels of the methods that left predictions, in the benchmark's order.
    """

    folder: Path
    manifest: Mapping[str, Any]
    labels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> ComparedRun:
        """Read the run in a folder.

        Raises:
            UserError: The folder is not a run folder.
        """
        manifest = read_manifest(folder)
        labels = tuple(m["label"] for m in manifest["methods"])
        return cls(folder, manifest, tuple(n for n in labels if has_predictions(folder, n)))

    @property
    def reference(self) -> str:
        """What the alignment metrics compare with, in words."""
        default = Benchmark.model_fields["reference_features"].default
        asked = self.manifest.get("benchmark", {})
        number = asked.get("reference_features", asked.get("teacher_features", default))
        return f"{number} features of {reference_expert(self.manifest)}"

    def perturbation(self, condition: ConditionKey) -> Any:
        """Return what determines the records under a condition; None for unchanged records."""
        found = [c for c in self.manifest["conditions"] if (c["name"], c["severity"]) == condition]
        return found[0].get("perturbation") if found else None

    def data(self, domain: str) -> Mapping[str, Any]:
        """Return what the manifest says of the evaluated cases' data set."""
        domains = self.manifest.get("transfer", {}).get("domains", [])
        data = next((d["data"] for d in domains if d["name"] == domain), domain)
        found: Mapping[str, Any] = self.manifest["data"].get(data, {})
        return found

    def fitted_on(self, domain: str) -> list[tuple[int, str]]:
        """Return hashes of the patients on whose records perturbations are fitted, by fold."""
        parts = self.manifest.get("parts", [])
        return [(p["fold"], p["patients_sha256"]) for p in parts if (p["domain"], p["part"]) == (domain, "train")]

    @property
    def metrics(self) -> tuple[MetricUse, ...]:
        """The metrics under their present names, with what each declares."""
        recorded = (MetricUse.recorded(record) for record in self.manifest["metrics"])
        return tuple(replace(use, name=present_name(use.name)) for use in recorded)

    def answers(self, label: str) -> Answers:
        """Read a method's scored rows by place and seed, in the order of case ids."""
        return read_predictions(self.folder, label)
