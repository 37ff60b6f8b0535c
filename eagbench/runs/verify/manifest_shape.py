"""The shape of a manifest: what every later check may rely on.

Only what is read later is described; a manifest may hold more.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eagbench.contracts.records import Access
from eagbench.contracts.traits import MetricTraits
from eagbench.stages.split import PARTS

Part = Literal["train", "tuning", "held_out"]
assert set(PARTS) == {"train", "tuning", "held_out"}


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Part(_Open):
    domain: str
    fold: int
    part: Part
    n_cases: int
    n_patients: int
    n_positive: int
    patients_sha256: str


class _Feature(_Open):
    name: str
    label: str
    unit: str
    synonyms: list[str]


class _Task(_Open):
    name: str
    outcome: str
    window_hours: float


class _Data(_Open):
    source: str
    access: Access
    citation: str
    patient_is_stay: bool
    n_patients_read: int
    n_patients: int
    n_cases: int
    n_positive: int
    exclusions: list[tuple[str, int]]
    implausible: dict[str, int]
    notes: list[str]
    result_times: dict[str, dict[str, Any]]
    features: list[_Feature]
    static_names: list[str]
    task: _Task
    content: str | None


class _Domain(_Open):
    name: str
    data: str
    access: Access
    holds: list[str]
    cohort: str
    split: str


class _Shared(_Open):
    features: list[str]
    static_names: list[str]


class _Transfer(_Open):
    domains: list[_Domain] = Field(min_length=1)
    pairs: list[tuple[str, str]] = Field(min_length=1)
    shared: _Shared | None
    features: dict[str, str] | None


class _Method(_Open):
    label: str
    name: str
    reads: Literal["columns", "text"]
    params: dict[str, Any]


class _Condition(_Open):
    name: str
    severity: float | None
    perturbation: dict[str, Any] | None
    description: str
    severity_unit: str | None
    applies_to: list[str]


class _Traits(_Open):
    better: str
    label: str
    definition: str
    reads_probability: bool
    biased: bool
    needs_attention: bool
    needs_reference_expert: bool
    columns: list[str]
    no_skill: float | str | None
    is_share: bool
    decimals: int
    table: str
    depends_on_scale: bool
    curve: bool
    undefined: str


assert set(_Traits.model_fields) <= set(MetricTraits.__dataclass_fields__)


class _Metric(_Open):
    name: str
    params: dict[str, Any]
    traits: _Traits


class _Intervals(_Open):
    resamples: int
    level: float
    auroc: str
    seed: int


class _Claim(_Open):
    method: str
    metric: str


class _Subgroups(_Open):
    by: list[str]
    minimum_cases: int
    minimum_positive: int


class _Curve(_Open):
    method: str
    seed: int
    domain_train: str
    fold: int
    n_cases: int
    n_positive: int
    intercept: float | None
    slope: float | None
    reason: str | None


class _Cell(_Open):
    method: str
    seed: int
    condition: str
    severity: float | None
    domain_train: str
    domain_eval: str
    score: str | None


class _Reference(_Open):
    domain: str
    name: str
    stage: str


class _Shown(_Open):
    shows: Literal["stages", "training", "train", "tuning", "held_out", "labels"]
    stages: list[str] | None = None
    split: str | None = None
    fold: int | None = None


class _Split(_Open):
    folds: int | None = Field(default=None, ge=2, le=100)


class _Stage(_Open):
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    kind: str = Field(pattern=r"^[^/\\.][^/\\]*$")
    label: str
    seed: int | None
    status: Literal["computed", "reused", "failed", "skipped", "not_needed"]
    inputs: dict[str, _Shown]
    patients_sha256: dict[str, str]
    finished: str | None


class _Failed(_Open):
    method: str
    seed: int
    condition: str
    severity: float | None
    domain_train: str
    domain_eval: str
    metric: str | None
    stage: str
    reason: str | None


class _Manifest(_Open):
    format: int
    eagbench_version: str
    name: str
    benchmark: dict[str, Any]
    created: str
    threads: int
    limit: int | None
    profile: str | None
    synthetic: bool
    access: Access
    data: dict[str, _Data] = Field(min_length=1)
    split: _Split
    parts: list[_Part] = Field(min_length=1)
    split_notes: dict[str, list[str]] = {}
    transfer: _Transfer
    methods: list[_Method] = Field(min_length=1)
    conditions: list[_Condition] = Field(min_length=1)
    metrics: list[_Metric] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    intervals: _Intervals
    comparisons: _Claim | None
    subgroups: _Subgroups | None
    recalibration: list[_Curve]
    cells: list[_Cell] = Field(min_length=1)
    references: list[_Reference]
    stages: list[_Stage] = Field(min_length=1)
    failed: list[_Failed]
    versions: dict[str, str]
    git: dict[str, Any] | None
    hardware: dict[str, Any]
    files: dict[str, str] = Field(min_length=1)


def shape_problems(text: str) -> list[str]:
    """Say where a manifest is not of the shape that a run writes; nothing if it is.

    Args:
        text: The manifest, JSON.
    """
    try:
        _Manifest.model_validate_json(text)
    except ValidationError as error:
        return [f"manifest.json: {_words(detail)}" for detail in error.errors(include_url=False, include_input=False)]
    return []


def _words(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "the whole"
    return f"{place}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
