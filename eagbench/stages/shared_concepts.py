"""Concepts (by name and unit) and static facts that the records of several domains share.

A method that reads columns is trained in one domain and evaluated in another on these alone, in one order.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eagbench.contracts.records import Case, Cases, LabelledCases, TrainingData

FILE = "shared_concepts.json"


@dataclass(frozen=True, slots=True)
class SharedConcepts:
    """Names of the features and static facts that records are restricted to, in the order of every record.

    Attributes:
        features: Names of features.
        static_names: Names of static facts.
    """

    features: tuple[str, ...]
    static_names: tuple[str, ...]

    @classmethod
    def of(cls, domains: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> Self:
        """Find what all domains have in common, in the order of the first one.

        Args:
            domains: The cohort facts of each domain (`cohort_files.read_facts`).
            without: Static facts to leave out, although all domains have them.
        """
        features = [{feature["name"] for feature in facts["features"]} for facts in domains]
        static = [set(facts["static_names"]) for facts in domains]
        return cls(
            tuple(f["name"] for f in domains[0]["features"] if all(f["name"] in names for names in features)),
            tuple(n for n in domains[0]["static_names"] if n not in without and all(n in names for names in static)),
        )

    def restrict(self, cases: Cases) -> Cases:
        """Keep only these features and facts in each case.

        A record lists its features in the shared order. If a perturbation moved some of them within the record, the
        same places are exchanged in the shared order. If a fifth was moved, it stays a fifth, whatever order the domain
        has.
        """
        described = {feature.name: feature for feature in cases.features}
        kept = frozenset(self.features)
        own_order = tuple(name for name in cases.feature_names if name in kept)
        restricted = cases.changed(lambda _, some: [self._restricted(case, kept, own_order) for case in some])
        return dataclasses.replace(
            restricted,
            features=tuple(described[name] for name in self.features),
            static_names=self.static_names,
        )

    def _restricted(self, case: Case, kept: frozenset[str], own_order: tuple[str, ...]) -> Case:
        present = kept.intersection(case.features)
        clean, shared = (tuple(name for name in order if name in present) for order in (own_order, self.features))
        stands_for = dict(zip(clean, shared, strict=True))
        names = tuple(stands_for[name] for name in case.features if name in present)
        return dataclasses.replace(
            case,
            features=names,
            values=case.values_in_order(names),
            # A static fact that a perturbation took away stays away.
            static={name: case.static[name] for name in self.static_names if name in case.static},
            distractors=tuple(
                dataclasses.replace(line, before=sum(name in kept for name in case.features[: line.before]))
                for line in case.distractors
            ),
        )

    def restrict_training(self, data: TrainingData) -> TrainingData:
        """Keep only these features and facts in the training data."""
        return TrainingData(
            train=LabelledCases(self.restrict(data.train.cases), data.train.labels),
            tuning=LabelledCases(self.restrict(data.tuning.cases), data.tuning.labels),
        )

    def write(self, folder: Path) -> None:
        """Write `shared_concepts.json`."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote."""
        content = json.loads((folder / FILE).read_text())
        return cls(tuple(content["features"]), tuple(content["static_names"]))
