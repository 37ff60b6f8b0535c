"""The benchmark as the user writes it (YAML, `--set`, profiles), validated into a frozen model."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from eagbench.config.settings import AnswerMode, RecordTextParams
from eagbench.config.splits import AnySplit, FileSplit, SplitSpec, with_short_form, written_out
from eagbench.config.strict import Strict
from eagbench.contracts.prompts import Wording

# Files are named after labels, and file systems hold names of 255 bytes.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_MAX_SEED = 2**31 - 1  # LightGBM's


class ComponentSpec(Strict):
    """A component's name and parameters: `lightgbm`, or `{name: lightgbm, num_leaves: 7}`.

    Attributes:
        name: Its name.
        params: Its parameters, written beside the name.
    """

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        return _split_component(value, ("name",))


class MethodSpec(Strict):
    """A method of the comparison, or an expert under its own name. `as` labels it; labels are unique.

    Attributes:
        name: Its name.
        label: What it is called in tables, written `as`; its name if there is none.
        params: Its parameters, written beside the name.
    """

    name: str
    label: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        spec = _split_component(value, ("name", "as"))
        spec["label"] = str(spec.pop("as", spec.get("name", "")))
        return spec

    @field_validator("label")
    @classmethod
    def _is_file_name(cls, label: str) -> str:
        if not _LABEL.fullmatch(label):
            raise ValueError(
                "a label is made of letters, digits, '_', '-' and '.', at most 100: files are named after it"
            )
        return label


class ConditionSpec(Strict):
    """`clean`, or a perturbation with severities (physical amounts) or levels (1 to 5).

    Attributes:
        name: Its name.
        label: What it is called in tables, written `as`; its name if there is none.
        severity: Physical amounts: a share, hours, standard deviations.
        level: Instead of amounts, the steps of the perturbation's author.
        params: Its parameters, written beside the name.
    """

    name: str
    label: str
    severity: tuple[float, ...] | None = None
    level: tuple[int, ...] | None = None
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        spec = _split_component(value, ("name", "as", "severity", "level"))
        spec["label"] = str(spec.pop("as", spec.get("name", "")))
        for key in ("severity", "level"):
            if isinstance(spec.get(key), int | float):
                spec[key] = [spec[key]]
        return spec

    @model_validator(mode="after")
    def _has_amounts(self) -> ConditionSpec:
        if self.name == "clean":
            if self.severity or self.level or self.params:
                raise ValueError("`clean` takes no parameters")
        elif not self.severity and not self.level:
            raise ValueError("a perturbation needs `severity: [...]` (physical amounts) or `level: [1, 3, 5]`")
        if self.level and any(not 1 <= level <= 5 for level in self.level):
            raise ValueError("levels run from 1 to 5")
        return self


def _split_component(value: Any, own: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping):
        if not isinstance(value.get("name"), str):
            raise ValueError("a component is a name, or a mapping with `name:` and its parameters")
        spec: dict[str, Any] = {key: value[key] for key in own if key in value}
        spec["params"] = {key: value[key] for key in value if key not in own}
        return spec
    raise ValueError("a component is a name, or a mapping with `name:` and its parameters")


class IntervalSpec(Strict):
    """The bootstrap over patients.

    `auroc` chooses the interval of an AUROC. `logit`, a normal interval on the log-odds scale, keeps its level with few
    events. `percentile`, the interval of all other metrics, does not (docs/metrics.md).
    """

    resamples: int = Field(default=1000, ge=100)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    auroc: Literal["logit", "percentile"] = "logit"
    seed: int = Field(default=0, ge=0)


class SubgroupSpec(Strict):
    """The subgroups for which results on clean records are also reported, and how many cases each needs.

    Attributes:
        by: `sex`, `age` (in bands), or facts that the data set declares, such as `icu_type`.
        minimum_cases: A subgroup with fewer cases gets no numbers.
        minimum_positive: A subgroup with fewer cases of the rarer class gets no numbers either.
        age_bands: Lower edges in years, rising.
    """

    by: tuple[str, ...] = Field(min_length=1)
    minimum_cases: int = Field(default=50, ge=2)
    minimum_positive: int = Field(default=10, ge=1)
    age_bands: tuple[float, ...] = Field(default=(18, 45, 65, 80), min_length=1)

    @field_validator("by")
    @classmethod
    def _facts_differ(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        _unique(list(by), "fact")
        return by

    @field_validator("age_bands")
    @classmethod
    def _rise(cls, bands: tuple[float, ...]) -> tuple[float, ...]:
        if sorted(set(bands)) != list(bands):
            raise ValueError("the lower edges of age bands rise")
        return bands


class ComparisonSpec(Strict):
    """The method whose claim is tested, against every other method on unchanged records, and the metric of the test."""

    method: str
    metric: str


EACH, LEAVE_ONE_OUT, ALL = "each", "leave_one_out", "all"


class FeatureView(Strict):
    """The features of the records that methods see across domains, by what they read."""

    columns: Literal["shared"] = "shared"
    text: Literal["shared", "all"] = "all"


class TransferSpec(Strict):
    """The domains where methods are trained, and where they are evaluated.

    Attributes:
        train: Domains, with a model for each; or `each` (every domain), `leave_one_out` (for every evaluated domain a
            model of all others), `all` (one model of all domains). The last two divide one data set (`domain_by`).
        evaluate: Domains on whose held-out cases each model is evaluated, or `each`.
        features: Methods that read columns see the concepts that all domains of the transfer share. Methods that read
            text may see everything in the record they get.
        outcomes: `may_differ` allows domains whose tasks have different names (death in the unit, death in hospital).
            The result then also measures the change of question.
        units_confirmed: Concepts whose numbers differ between domains as if in two units, although somebody has checked
            that they are in the declared unit.
    """

    train: tuple[str, ...] = Field(min_length=1)
    evaluate: tuple[str, ...] = Field(default=(EACH,), min_length=1)
    features: FeatureView = FeatureView()
    outcomes: Literal["same", "may_differ"] = "same"
    units_confirmed: tuple[str, ...] = ()

    @field_validator("train", "evaluate", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("train", "evaluate")
    @classmethod
    def _names_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _unique(list(value), "domain")
        return value


class Benchmark(Strict):
    """A benchmark: data, methods, conditions, seeds, metrics.

    The data are one data set (`data`), which `domain_by` may divide into domains, or several (`domains`).

    Attributes:
        name: The run folder and its files are named after it.
        description: One sentence for the report.
        data: The data set.
        domains: Several data sets by the names of their domains, instead of `data`.
        domain_by: The fact of a case that divides one data set into domains, such as the unit.
        transfer: Where methods are trained and where they are evaluated; belongs to `domains` or `domain_by`.
        split: How patients are divided: shares, folds, the source's own parts, a fact, or a file.
        reference_expert: The expert whose salience citations and attention are compared with.
        reference_features: How many of its heaviest observed features make up its list.
        policy: The language model behind methods that name none.
        record_text: How a record is written as text.
        answer: How a policy's answer becomes a probability.
        prompts: The benchmark's own prompts by name, each a file or the words themselves; a method names one as its
            `style`.
        methods: What is compared: methods, and experts under their own names; `as` labels one.
        conditions: `clean`, and perturbations with their severities.
        seeds: Seeds of training, search and sampling; the split has one of its own.
        threads: How many threads each stage computes with, on every machine: their number changes last digits.
        metrics: What is computed of the answers.
        intervals: The bootstrap over patients.
        comparisons: The method whose claim is tested, and by which metric; `null` to test nothing. Without the key it
            is the last of several methods, by the first metric whose differences can be tested.
        recalibrate: Also report answers recalibrated on tuning cases.
        subgroups: Also report results within subgroups.
        trackers: Who hears of training curves while stages run.
        attestation: The permission, in words, to send credentialed records, or numbers from them, to the machines that
            the benchmark names (a policy's server, a tracker). Without it they are never sent.
        profiles: Other values by the profile's name, for `--profile`.
    """

    name: str
    description: str = ""
    data: ComponentSpec | None = None
    domains: dict[str, ComponentSpec] = Field(default_factory=dict)
    domain_by: str | None = None
    transfer: TransferSpec | None = None
    split: AnySplit = Field(
        default=SplitSpec(train=0.7, tuning=0.1, held_out=0.2),
        json_schema_extra=with_short_form,
    )
    reference_expert: ComponentSpec | None = None
    reference_features: int = Field(default=5, ge=1)
    policy: ComponentSpec | None = None
    record_text: RecordTextParams = RecordTextParams()
    answer: AnswerMode = AnswerMode()
    prompts: dict[str, Wording] = Field(default_factory=dict)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    conditions: tuple[ConditionSpec, ...] = (ConditionSpec.model_validate("clean"),)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    threads: int = Field(default=1, ge=1)
    metrics: tuple[ComponentSpec, ...] = Field(min_length=1)
    intervals: IntervalSpec = IntervalSpec()
    comparisons: ComparisonSpec | None = None
    recalibrate: bool = False
    subgroups: SubgroupSpec | None = None
    trackers: tuple[ComponentSpec, ...] = ()
    attestation: str | None = Field(default=None, min_length=1)
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _is_file_name(cls, name: str) -> str:
        if not _LABEL.fullmatch(name):
            raise ValueError("a benchmark's name is made of letters, digits, '_', '-' and '.', at most 100")
        return name

    @field_validator("split", mode="before")
    @classmethod
    def _written_out(cls, split: Any) -> Any:
        return written_out(split)

    @field_validator("domains")
    @classmethod
    def _are_domains(cls, domains: dict[str, ComponentSpec]) -> dict[str, ComponentSpec]:
        for name in domains:
            if not _LABEL.fullmatch(name) or name in (EACH, LEAVE_ONE_OUT, ALL):
                raise ValueError(
                    f"'{name}' can't be the name of a domain: it is made of letters, digits, '_', '-' and '.' (at most "
                    f"100), and is none of {EACH}, {LEAVE_ONE_OUT}, {ALL}"
                )
        if len(domains) == 1:
            raise ValueError("a benchmark across domains needs two of them; for one data set write `data`")
        return domains

    @model_validator(mode="after")
    def _says_where(self) -> Benchmark:
        if self.data is None and not self.domains:
            raise ValueError("the key 'data' is missing; for several data sets write `domains` and `transfer`")
        if self.data is not None and self.domains:
            raise ValueError("give either `data` or `domains`")
        if self.domains and isinstance(self.split, FileSplit):
            raise ValueError("`split: {file: ...}` names the cases of one data set (`data`), not of several `domains`")
        if self.domains and self.domain_by is not None:
            raise ValueError("`domain_by` divides one data set (`data`), not `domains`")
        if (self.transfer is not None) != bool(self.domains or self.domain_by):
            raise ValueError(
                "`transfer` says where methods are trained and evaluated; it belongs to `domains` or `domain_by`, and "
                "they need it"
            )
        if self.domains and self.transfer is not None:
            for name in (*self.transfer.train, *self.transfer.evaluate):
                if name in (LEAVE_ONE_OUT, ALL):
                    raise ValueError(f"`{name}` pools the cases of one data set that `domain_by` divides")
                _among([*self.domains, EACH], "domain", name)
        return self

    @field_validator("conditions")
    @classmethod
    def _clean_first(cls, conditions: tuple[ConditionSpec, ...]) -> tuple[ConditionSpec, ...]:
        _unique([c.label for c in conditions], "condition")
        if not any(c.name == "clean" for c in conditions):
            raise ValueError("`clean` must be among the conditions: every other one is compared with it")
        return tuple(sorted(conditions, key=lambda c: c.name != "clean"))

    @field_validator("methods")
    @classmethod
    def _labels_differ(cls, methods: tuple[MethodSpec, ...]) -> tuple[MethodSpec, ...]:
        _unique([m.label for m in methods], "method")
        return methods

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        _unique([str(s) for s in seeds], "seed")
        if any(seed < 0 for seed in seeds):
            raise ValueError("seeds are not negative")
        if any(seed > _MAX_SEED for seed in seeds):
            raise ValueError(f"seeds are at most {_MAX_SEED}")
        return seeds

    @field_validator("comparisons")
    @classmethod
    def _is_compared(cls, comparisons: ComparisonSpec | None, info: ValidationInfo) -> ComparisonSpec | None:
        if comparisons is not None and {"methods", "metrics"} <= info.data.keys():
            methods = [method.label for method in info.data["methods"]]
            _among(methods, "method", comparisons.method)
            _among([metric.name for metric in info.data["metrics"]], "metric", comparisons.metric)
            if len(methods) < 2:
                raise ValueError("there is no other method to compare with")
        return comparisons


def _among(names: Sequence[str], what: str, name: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"the {what} '{name}' is not in this benchmark; {hint}choices: {', '.join(names)}")


def _unique(labels: Sequence[str], what: str) -> None:
    doubled = sorted(label for label, count in Counter(labels).items() if count > 1)
    if doubled:
        hint = "; tell them apart with `as:`" if what != "seed" else ""
        raise ValueError(f"the {what} {', '.join(doubled)} stands here more than once{hint}")
