"""Tests for what all kinds of components share: a name, strict parameters, registration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from eagbench.contracts.traits import traits_of
from eagbench.registry.plugins import KINDS, check_component


class ComponentConformance:
    """Base of the conformance classes.

    Attributes:
        kind: The kind of component; each conformance class sets it.
        component: The class under test.
        params: Parameters of the component, as in a benchmark. If they depend on another fixture (a data folder),
            override the fixture `given_params`.
    """

    kind: ClassVar[str]
    component: ClassVar[Any]
    params: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls) -> Mapping[str, Any]:
        """Return the parameters as in a benchmark."""
        return cls.params

    @pytest.fixture(scope="class")
    @classmethod
    def validated(cls, given_params: Mapping[str, Any]) -> BaseModel:
        """Validate the parameters."""
        model: BaseModel = cls.component.Params.model_validate(dict(given_params))
        return model

    @pytest.fixture
    def made(self, validated: BaseModel) -> Any:
        """Make a new instance."""
        return self.component(validated)

    def test_can_be_registered(self, made: Any) -> None:
        """The class has what its hook requires, and its instances follow the protocol."""
        check_component(self.component, self.kind)
        assert isinstance(made, KINDS[self.kind].protocol)

    def test_declares_traits_of_its_kind(self, made: Any) -> None:
        """The class declares traits, or an instance does if they depend on the parameters."""
        assert traits_of(made, KINDS[self.kind].traits) == traits_of(made, KINDS[self.kind].traits)

    def test_unknown_parameters_are_refused(self, given_params: Mapping[str, Any]) -> None:
        """A misspelt parameter raises an error and is never ignored."""
        with pytest.raises(ValidationError):
            self.component.Params.model_validate({**given_params, "no_parameter_has_this_name": 1})

    def test_parameters_survive_json(self, validated: BaseModel) -> None:
        """Parameters are part of a fingerprint and are read back from it."""
        assert self.component.Params.model_validate(validated.model_dump(mode="json")) == validated
