"""The object through which a method declares its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from eagbench.contracts.stages import CasesInput, ComponentUse, Input, StageNode, TrainingInput


class MethodPlan(Protocol):
    """Declares a method's stages, for one fold and one seed."""

    @property
    def fold(self) -> int:
        """The fold."""
        ...

    @property
    def seed(self) -> int:
        """The seed of training, search and sampling."""
        ...

    @property
    def training(self) -> TrainingInput:
        """Training and tuning cases with labels, as an input of a stage."""
        ...

    @property
    def training_cases(self) -> CasesInput:
        """Training cases without labels, as an input of a stage."""
        ...

    @property
    def answer_levels(self) -> tuple[float, ...]:
        """The probabilities that an answer can be, increasing; the benchmark's, the same for every method."""
        ...

    def component(self, kind: str, spec: str | Mapping[str, Any], key: str) -> ComponentUse:
        """Validate a component that the method got in its parameters.

        Args:
            kind: For example `search`.
            spec: A name, or a mapping with `name` and parameters.
            key: The method's parameter that holds it, for error messages.

        Raises:
            UserError: The component is unknown, or a parameter does not fit.
        """
        ...

    def expert(self, use: ComponentUse) -> StageNode:
        """Declare the stage that fits an expert on this fold's training part, on the features column readers may see.

        If cases have further features, the expert finds its own by name.
        """
        ...

    def cross_fitted_salience(self, use: ComponentUse, folds: int = 5) -> StageNode:
        """Declare the stage that gives each training case the salience of an expert not trained on its patient.

        The weights cover the features that column-reading methods may see. In a benchmark across domains these are the
        features that all domains share, which may be fewer than the method's own training cases have.
        """
        ...

    def record_text(self) -> StageNode:
        """Declare the stage that fits how records become text; all methods share it."""
        ...

    def policy(self) -> StageNode:
        """Declare the stage that prepares the benchmark's base policy.

        Raises:
            UserError: The benchmark names no policy, or its policy would send credentialed records to another machine,
                or does not give the attention that a metric needs.
        """
        ...

    def stage(
        self,
        kind: str,
        label: str,
        function: Callable[..., None],
        params: Mapping[str, Any],
        inputs: Mapping[str, Input | StageNode],
        *,
        component: ComponentUse | None = None,
    ) -> StageNode:
        """Declare a stage of the method's own.

        Args:
            kind: What it makes, for example `trajectories` or `sft`.
            label: Name for display.
            function: A module-level function that takes a `StageRun`.
            params: JSON values.
            inputs: Training data, unlabelled cases, or other stages.
            component: The component that does the work, if there is one.
        """
        ...
