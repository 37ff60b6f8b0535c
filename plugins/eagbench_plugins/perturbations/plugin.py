"""Registers the built-in perturbations."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.perturbations.distractor_features import DistractorFeatures
from eagbench_plugins.perturbations.feature_names import FeatureAbbreviations, FeatureSynonyms
from eagbench_plugins.perturbations.feature_order import FeatureOrder, FeatureOrderPositional
from eagbench_plugins.perturbations.measurement_errors import DecimalSlips, GaussianNoise, Outliers
from eagbench_plugins.perturbations.missing_by_value import MissingByValue
from eagbench_plugins.perturbations.missing_parts import LastHoursRemoved, MissingFeatures, MissingVisits
from eagbench_plugins.perturbations.missing_values import MissingValues
from eagbench_plugins.perturbations.repeated_rows import ContradictoryRows, DuplicatedRows
from eagbench_plugins.perturbations.rewording.prompt_wording import PromptWording
from eagbench_plugins.perturbations.sex_age_removed import SexAgeRemoved
from eagbench_plugins.perturbations.timing import CoarserSampling, TimeJitter, TimeShuffle, TimeShuffleBeforeLast
from eagbench_plugins.perturbations.unit_change import UnitChange, UnitChangeUnlabelled

BUILT_IN = (
    FeatureOrder,
    FeatureOrderPositional,
    MissingValues,
    MissingByValue,
    MissingFeatures,
    MissingVisits,
    LastHoursRemoved,
    GaussianNoise,
    Outliers,
    DecimalSlips,
    UnitChange,
    UnitChangeUnlabelled,
    TimeJitter,
    TimeShuffle,
    TimeShuffleBeforeLast,
    CoarserSampling,
    DistractorFeatures,
    FeatureSynonyms,
    FeatureAbbreviations,
    PromptWording,
    DuplicatedRows,
    ContradictoryRows,
    SexAgeRemoved,
)


@hookimpl
def register_perturbations(register: Register) -> None:
    """Register all built-in perturbations."""
    for perturbation in BUILT_IN:
        register(perturbation)
