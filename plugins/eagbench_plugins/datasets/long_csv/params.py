"""Parameters of the data set `long_csv`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from eagbench.api import Concept, Conversion, StrictParams, Vocabulary, vocabulary
from eagbench_plugins.datasets.concept_choice import check_named_once

TimeUnit = Literal["hours", "minutes", "days", "timestamps"]
_Text = Annotated[str, Field(min_length=1)]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Columns(StrictParams):
    """Names of the columns, where the files call them otherwise.

    Attributes:
        patient_id: The patient; in the outcomes, else in the events. Without it each stay counts as a patient.
        stay_id: The stay, in both files.
        time: Time of a measurement, in the events.
        variable: What was measured, in the events.
        value: The number, in the events.
        unit: Its unit, in the events; the column may be absent.
        outcome: 0 or 1, in the outcomes.
        admission_time: Time zero of a stay, in the outcomes; only with timestamps.
        end_time: When the stay ended, in the outcomes; the column may be absent.
    """

    patient_id: _Text = "patient_id"
    stay_id: _Text = "stay_id"
    time: _Text = "time"
    variable: _Text = "variable"
    value: _Text = "value"
    unit: _Text = "unit"
    outcome: _Text = "outcome"
    admission_time: _Text = "admission_time"
    end_time: _Text = "end_time"


class Mixed(StrictParams):
    """Numbers in [low, high] that are in another unit than the variable's."""

    unit: _Text
    low: float
    high: float


class Variable(StrictParams):
    """Which concept a variable of the events holds.

    Attributes:
        concept: A concept of the vocabulary, or one of `new_concepts`.
        unit: The unit of values whose row names none.
        values: The number for each text value.
        mixed: A range of numbers that are in another unit.
    """

    concept: _Name
    unit: _Text | None = None
    values: dict[str, float] = Field(default_factory=dict)
    mixed: Mixed | None = None


class NewConcept(StrictParams):
    """A quantity that the vocabulary lacks.

    Attributes:
        label: The clinician's name for it; by default the name without underscores.
        unit: The unit of the stored values, `"1"` for a score.
        plausible: Lowest and highest value that a living patient may have.
        reference: Lower and upper reference limit in adults, null where there is none.
        conversions: Other units, and the factor that turns their numbers into `unit`.
        synonyms: Other names under which an answer may cite it.
        loinc: Its LOINC code.
    """

    label: _Text | None = None
    unit: _Text
    plausible: tuple[float, float]
    reference: tuple[float | None, float | None] = (None, None)
    conversions: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    synonyms: tuple[str, ...] = ()
    loinc: str | None = None

    def concept(self, name: str) -> Concept:
        """Return the entry of a vocabulary."""
        return Concept(
            name=name,
            label=self.label or name.replace("_", " ").capitalize(),
            loinc=self.loinc,
            unit=self.unit,
            plausible=self.plausible,
            reference=self.reference,
            synonyms=self.synonyms,
            conversions={unit: Conversion(factor=factor) for unit, factor in self.conversions.items()},
        )


class LongCsvParams(StrictParams):
    """Parameters of `long_csv`.

    Attributes:
        root: The folder that holds the files.
        events: One or several CSV files below it, a row per measurement; gzipped if they end in .gz.
        outcomes: The CSV file below it with a row per stay: its outcome, static facts and groups.
        separator: What stands between two fields.
        columns: Names of the columns, where the files call them otherwise.
        time: The unit of time since admission, or `timestamps`; then the outcomes need the time of admission.
        time_format: How timestamps are written, in the codes of strftime.
        task: The task's name.
        outcome: The event in words, as it appears in a prompt ("die before leaving the hospital").
        role: The role that a prompt gives its reader.
        window_hours: Length of the observation window, from admission until just before the prediction time.
        variables: Which variable holds which concept, in order of precedence at the same time. A variable that is
            called like a concept needs no entry.
        new_concepts: Quantities that the vocabulary lacks.
        concepts: Names of the concepts that make up the record, in this order; by default all that were found.
        static: The column of the outcomes for each static fact; `sex` is text, the others are numbers. A fact that is
            called like a concept is in the concept's unit.
        male: How the file writes that a patient is male; case does not matter.
        female: How it writes that a patient is female.
        groups: Columns of the outcomes that may divide the cases (`domain_by`), with their values.
        access: The access level of the records; CSV files don't state it.
        citation: What a user of the results must cite, with the licence.
        hospitals: Where the patients were treated, in the words of the other data sets. None (`[]`) for generated
            records that no other domain holds. Transfer between data sets needs it.
    """

    root: Path
    events: Annotated[tuple[_Text, ...], Field(min_length=1)] = ("events.csv",)
    outcomes: _Text = "outcomes.csv"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    columns: Columns = Columns()
    time: TimeUnit = "hours"
    time_format: _Text = "%Y-%m-%d %H:%M:%S"
    task: _Name
    outcome: _Text
    role: _Text = "an intensive care physician"
    window_hours: Annotated[float, Field(gt=0)] = 48.0
    variables: dict[str, Variable] = Field(default_factory=dict)
    new_concepts: dict[_Name, NewConcept] = Field(default_factory=dict)
    concepts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    static: dict[_Name, _Text] = Field(default_factory=lambda: {"age": "age", "sex": "sex"})
    male: tuple[str, ...] = ("male", "m", "1")
    female: tuple[str, ...] = ("female", "f", "0")
    groups: dict[_Name, Annotated[tuple[_Text, ...], Field(min_length=1)]] = Field(default_factory=dict)
    access: Literal["credentialed", "open", "synthetic"] = "credentialed"
    citation: _Text = "Records in CSV files, given by the user without a citation."
    hospitals: tuple[str, ...] | None = None

    @field_validator("root")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("events", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        words = self.vocabulary()
        for place, names in (
            ("variables", [variable.concept for variable in self.variables.values()]),
            ("concepts", self.concepts or ()),
        ):
            unknown = [name for name in names if name not in words.names]
            if unknown:
                raise ValueError(
                    f"{place}: the vocabulary has no {', '.join(unknown)}; `eagbench data concepts` lists it, and "
                    "`new_concepts` adds to it"
                )
        check_named_once(self.concepts or (), "a concept")
        for name, variable in self.variables.items():
            for unit in (variable.unit, None if variable.mixed is None else variable.mixed.unit):
                if unit is not None and not words.knows_unit(variable.concept, unit):
                    known = words.concept(variable.concept)
                    choices = ", ".join([known.unit, *known.conversions])
                    raise ValueError(f"variables.{name}: no conversion from '{unit}' is known; units: {choices}")
        return self

    @model_validator(mode="after")
    def _were_treated_somewhere(self) -> Self:
        if self.hospitals == () and self.access != "synthetic":
            raise ValueError("`hospitals: []` is for generated records (`access: synthetic`)")
        return self

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary with the new concepts, which come last.

        Raises:
            ValueError: A new concept contradicts itself or another concept.
        """
        return vocabulary().extended([new.concept(name) for name, new in self.new_concepts.items()])
