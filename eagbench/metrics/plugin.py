"""Registers the core's metrics through the hook that other packages use."""

from __future__ import annotations

from eagbench.contracts.hooks import Register, hookimpl
from eagbench.metrics.alignment_controls import CONTROL_METRICS
from eagbench.metrics.attention import (
    AlignmentOverConstant,
    AlignmentOverOtherPatient,
    CitationJaccard,
    CitedFeatures,
)
from eagbench.metrics.attention_mass import AttentionMass, AttentionMassOverOtherPatient
from eagbench.metrics.calibration import (
    Brier,
    BrierReliability,
    BrierResolution,
    BrierSkill,
    BrierUncertainty,
    CalibrationIntercept,
    CalibrationSlope,
    ExpectedCalibrationError,
)
from eagbench.metrics.citation_rereading import REREAD_METRICS
from eagbench.metrics.discrimination import Auprc, Auroc
from eagbench.metrics.unparsed import TooLong, UnparsedRate


@hookimpl
def register_metrics(register: Register) -> None:
    """Register every metric of the core."""
    for metric in (
        Auroc,
        Auprc,
        Brier,
        ExpectedCalibrationError,
        CalibrationSlope,
        CalibrationIntercept,
        BrierReliability,
        BrierResolution,
        BrierSkill,
        BrierUncertainty,
        UnparsedRate,
        TooLong,
        CitationJaccard,
        CitedFeatures,
        AlignmentOverConstant,
        AlignmentOverOtherPatient,
        AttentionMass,
        AttentionMassOverOtherPatient,
        *CONTROL_METRICS,
        *REREAD_METRICS,
    ):
        register(metric)
