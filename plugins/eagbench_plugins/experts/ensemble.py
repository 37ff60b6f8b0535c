"""An expert that combines others, so that no finding depends on a single teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator

from eagbench.api import Cases, Expert, ExpertTraits, FloatArray, StageRun, StrictParams, TrainingData, create_component

Member = str | Mapping[str, Any]


class Ensemble:
    """An unweighted mean of its members' probabilities and saliences.

    Every member is fitted on the same cases with its own seed, so a member that is named twice is fitted twice
    (Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS
    2017). Members may come from any package.
    """

    name: ClassVar[str] = "ensemble"
    # Parameters that name other components, by kind: the plan validates them, and their code enters the fingerprint.
    traits = ExpertTraits(parts={"members": "expert"})

    class Params(StrictParams):
        """Parameters.

        Attributes:
            members: The experts, each a name, or a mapping with `name` and its parameters.
        """

        members: Annotated[tuple[Member, ...], Field(min_length=1)] = ("logistic_regression", "lightgbm")

        @field_validator("members")
        @classmethod
        def _are_named(cls, value: tuple[Member, ...]) -> tuple[Member, ...]:
            if not all(isinstance(member, str) or isinstance(member.get("name"), str) for member in value):
                raise ValueError("a member is a name, or a mapping with `name:` and its parameters")
            return value

    def __init__(self, params: Params) -> None:
        self.params = params
        self.members: list[Expert] = []

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit every member on the same cases. Each member keeps its checkpoints in its own folder."""
        members = [create_component(identity) for identity in self._identities()]
        for number, (place, member) in enumerate(zip(self._places(), members, strict=True)):
            folder = run.checkpoints / place
            folder.mkdir(exist_ok=True)
            seed = _seed(run.seed, number)
            member.fit(data, StageRun(run.params, run.inputs, seed, folder, progress=run.progress, costs=run.costs))
        self.members = members

    def predict(self, cases: Cases) -> FloatArray:
        """Average the members' probabilities. Shape (N,)."""
        return np.asarray(np.mean([member.predict(cases) for member in self.members], axis=0, dtype=np.float64))

    def salience(self, cases: Cases) -> FloatArray:
        """Average the members' saliences, each of which sums to 1. Shape (N, F)."""
        return np.asarray(np.mean([member.salience(cases) for member in self.members], axis=0, dtype=np.float64))

    def save(self, folder: Path) -> None:
        """Write each member into its own folder, `0_logistic_regression`, `1_lightgbm`, ..."""
        for place, member in zip(self._places(), self.members, strict=True):
            (folder / place).mkdir(exist_ok=True)
            member.save(folder / place)

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """Read the fitted expert that `save` wrote."""
        expert = cls(params)
        for place, identity in zip(expert._places(), expert._identities(), strict=True):
            member: Any = type(create_component(identity))
            expert.members.append(member.load(member.Params.model_validate(identity["params"]), folder / place))
        return expert

    def _identities(self) -> Iterator[dict[str, Any]]:
        for member in self.params.members:
            given = {"name": member} if isinstance(member, str) else dict(member)
            yield {"kind": "expert", "name": given.pop("name"), "params": given}

    def _places(self) -> list[str]:
        return [f"{number}_{identity['name']}" for number, identity in enumerate(self._identities())]


def _seed(seed: int, number: int) -> int:
    """Derive a member's 31-bit seed, which is the same in every process and differs between members."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big") % 2**31
