"""Where methods are trained and where they are evaluated: the domains of a benchmark and their pairs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eagbench.config import ALL, EACH, LEAVE_ONE_OUT
from eagbench.errors import UserError
from eagbench.stage import CasesInput, Input, StageNode, StageOutput
from eagbench.types import Access, Reads

if TYPE_CHECKING:
    from eagbench.plan import _Planner


@dataclass(frozen=True, eq=False)
class Domain:
    """Cases on which methods are trained or evaluated.

    Attributes:
        name: As it stands in results; a synthetic one says so.
        data: The name of its data set in the manifest.
        cohort: The stage that loads its data set.
        split: The stage that divides its patients.
        access: Access policy of its data.
        holds: Names of the domains whose cases it holds: its own, or several for a pooled one.
        hospitals: Where its patients were treated, in lower case; None if its data set does not say.
    """

    name: str
    data: str
    cohort: StageNode
    split: StageNode
    access: Access
    holds: frozenset[str]
    hospitals: frozenset[str] | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """Trained in one domain, evaluated in one.

    Attributes:
        train: Where methods are trained.
        evaluate: Where they are evaluated.
        shift: The stage that compares their records; None where one holds the other's cases.
    """

    train: Domain
    evaluate: Domain
    shift: StageNode | None = None


@dataclass(frozen=True, eq=False)
class Transfer:
    """The domains of a benchmark.

    Attributes:
        domains: Every domain, the evaluated ones first.
        pairs: Every training domain with every evaluated one, as the benchmark asks.
        columns: The stage that restricts what methods see that read columns; None for the whole record.
        text: The same for methods that read text.
        shared: The stage that lists what the domains share; None for a benchmark with one domain.
    """

    domains: tuple[Domain, ...]
    pairs: tuple[Pair, ...]
    columns: StageNode | None = None
    text: StageNode | None = None
    shared: StageNode | None = None

    def concepts(self, reads: Reads) -> StageNode | None:
        """What restricts the records of a method."""
        return self.columns if reads == "columns" else self.text

    @property
    def trained(self) -> tuple[Domain, ...]:
        """The domains in which methods are trained, in order."""
        return tuple(dict.fromkeys(pair.train for pair in self.pairs))

    @property
    def evaluated(self) -> tuple[Domain, ...]:
        """The domains in which methods are evaluated, in order."""
        return tuple(dict.fromkeys(pair.evaluate for pair in self.pairs))

    @property
    def data_sets(self) -> tuple[Domain, ...]:
        """One domain of each data set, in order."""
        first: dict[str, Domain] = {}
        for domain in self.domains:
            first.setdefault(domain.data, domain)
        return tuple(first.values())

    @property
    def access(self) -> Access:
        """The strictest access policy of the data: credentialed if one domain is; else synthetic if one is."""
        policies = {domain.access for domain in self.domains}
        strictness: tuple[Access, ...] = ("credentialed", "synthetic", "open")
        return next(policy for policy in strictness if policy in policies)

    @property
    def is_crossed(self) -> bool:
        """Whether there is more than the one domain that a benchmark with `data` alone has."""
        return self.shared is not None


def plan_transfer(planner: _Planner) -> Transfer:
    """Lays out the domains and their pairs.

    Raises:
        UserError: A domain is unknown, its data are missing, or two domains may share patients.
    """
    benchmark = planner.benchmark
    if benchmark.transfer is None:
        assert benchmark.data is not None
        domain = _data_set(planner, None)
        return Transfer((domain,), (Pair(domain, domain),))
    return _of_one_data_set(planner) if benchmark.domain_by is not None else _of_data_sets(planner)


def domain_name(name: str, access: str) -> str:
    """A domain's name in results; a synthetic one says so wherever its numbers appear."""
    return f"{name} (SYNTHETIC)" if access == "synthetic" else name


def _data_set(planner: _Planner, name: str | None) -> Domain:
    """A whole data set: that of `data` for no name."""
    benchmark = planner.benchmark
    spec = benchmark.data if name is None else benchmark.domains[name]
    assert spec is not None
    path = ("data",) if name is None else ("domains", name)
    label = name or spec.name
    cohort, dataset = planner.cohort(spec, path)
    access = dataset.access()
    split = planner.known(planner.patient_split.stage(cohort, "split" if name is None else f"split of {name}"))
    shown = domain_name(label, access)
    declared = getattr(dataset, "hospitals", None)
    hospitals = None if declared is None else frozenset(" ".join(name.split()).casefold() for name in declared)
    return Domain(shown, shown, cohort, split, access, frozenset({shown}), hospitals)


def _of_data_sets(planner: _Planner) -> Transfer:
    spec = planner.benchmark.transfer
    assert spec is not None
    names = list(planner.benchmark.domains)
    train, evaluate = _each(spec.train, names), _each(spec.evaluate, names)
    used = [name for name in names if name in (*train, *evaluate)]
    if len(used) == 1:
        raise UserError(
            f"trained and evaluated in one domain, '{used[0]}', nothing is transferred",
            where=planner.loaded.place("transfer"),
            mend=f"choices: {', '.join(names)}, {EACH}",
        )
    domains = {name: _data_set(planner, name) for name in used}
    _refuse_shared_patients(planner, [domains[name] for name in used])
    shared = _shared(planner, [domains[name] for name in used], ())
    pairs = [(domains[t], domains[e]) for t in train for e in evaluate]
    return _transfer(planner, pairs, shared, shared if spec.features.text == "shared" else None)


def _of_one_data_set(planner: _Planner) -> Transfer:
    benchmark = planner.benchmark
    spec, fact = benchmark.transfer, benchmark.domain_by
    assert spec is not None
    assert fact is not None
    assert benchmark.data is not None
    whole = _data_set(planner, None)
    registered = planner.registry.get("dataset", benchmark.data.name)
    declared: dict[str, tuple[str, ...]] = dict(getattr(registered.component, "groups", {}))
    if fact not in declared:
        raise UserError(
            f"the data set '{benchmark.data.name}' declares no fact '{fact}' by which its cases can be divided",
            where=planner.loaded.place("domain_by"),
            mend=_choices(fact, list(declared)),
        )
    names = list(declared[fact])
    for key, listed, words in (
        ("train", spec.train, (EACH, LEAVE_ONE_OUT, ALL)),
        ("evaluate", spec.evaluate, (EACH,)),
    ):
        for name in listed:
            if name not in (*names, *words):
                raise UserError(
                    f"'{fact}' has no value '{name}'",
                    where=planner.loaded.place("transfer", key),
                    mend=_choices(name, [*names, *words]),
                )

    made: dict[tuple[str, ...], Domain] = {}

    def domain(values: tuple[str, ...], label: str) -> Domain:
        return made.setdefault(values, _part_of(planner, whole, fact, values, label))

    evaluate = [domain((name,), name) for name in _each(spec.evaluate, names)]
    pairs: list[tuple[Domain, Domain]] = []
    for word in spec.train:
        if word == LEAVE_ONE_OUT:
            # A model of all domains but one is evaluated on that one.
            for target in evaluate:
                rest = tuple(n for n in names if domain_name(n, whole.access) not in target.holds)
                pairs.append((domain(rest, f"all but {next(n for n in names if n not in rest)}"), target))
        elif word == ALL:
            pairs.extend((domain(tuple(names), ALL), target) for target in evaluate)
        else:
            for name in _each((word,), names):
                pairs.extend((domain((name,), name), target) for target in evaluate)
    # What tells the domains apart would tell a model where it is; nobody sees it.
    shared = _shared(planner, [whole], (fact,))
    return _transfer(planner, list(dict.fromkeys(pairs)), shared, shared)


def _part_of(planner: _Planner, whole: Domain, fact: str, values: tuple[str, ...], label: str) -> Domain:
    """The cases of a data set whose fact has one of the values."""
    select = planner.node(
        "domain",
        label,
        "eagbench.stages.domains:select",
        {**whole.split.params, "fact": fact, "values": sorted(values), "domain": label},
        {"cohort": StageOutput(whole.cohort), "split": StageOutput(whole.split)},
    )
    holds = frozenset(domain_name(value, whole.access) for value in values)
    return Domain(domain_name(label, whole.access), whole.name, whole.cohort, select, whole.access, holds)


def _shared(planner: _Planner, domains: Sequence[Domain], without: tuple[str, ...]) -> StageNode:
    spec = planner.benchmark.transfer
    assert spec is not None
    inputs: dict[str, Input] = {f"cohort{i}": StageOutput(domain.cohort) for i, domain in enumerate(domains)}
    return planner.node(
        "shared_concepts",
        "shared concepts",
        "eagbench.stages.domains:share",
        {
            "domains": [domain.name for domain in domains],
            "without": list(without),
            "outcomes": spec.outcomes,
            "units_confirmed": sorted(spec.units_confirmed),
        },
        inputs,
    )


def _transfer(
    planner: _Planner, pairs: Sequence[tuple[Domain, Domain]], shared: StageNode, text: StageNode | None
) -> Transfer:
    made = tuple(Pair(train, target, _shift(planner, train, target, shared)) for train, target in pairs)
    domains = dict.fromkeys([*(pair.evaluate for pair in made), *(pair.train for pair in made)])
    return Transfer(tuple(domains), made, columns=shared, text=text, shared=shared)


def _shift(planner: _Planner, train: Domain, target: Domain, shared: StageNode) -> StageNode | None:
    if train.holds & target.holds:
        return None
    # One comparison for both directions.
    first, second = sorted((train, target), key=lambda domain: domain.name)
    inputs: dict[str, Input] = {
        name: CasesInput(domain.split, 0, "train", concepts=shared)
        for name, domain in (("first", first), ("second", second))
    }
    return planner.node(
        "covariate_shift",
        f"{first.name} and {second.name}",
        "eagbench.stages.domains:covariate_shift",
        {"one_data_set": first.data == second.data},
        inputs,
        seed=planner.benchmark.split.seed,
    )


def _refuse_shared_patients(planner: _Planner, domains: Sequence[Domain]) -> None:
    """Patients are divided within each data set: one who is in two could be trained on in one and held out in other."""
    for i, first in enumerate(domains):
        for second in domains[i + 1 :]:
            if first.cohort.content is not None and first.cohort.content == second.cohort.content:
                raise UserError(
                    f"the domains '{first.name}' and '{second.name}' are read from the same files: a patient could be "
                    "trained on in one and held out in the other",
                    where=planner.loaded.place("domains"),
                    mend="divide one data set with `data` and `domain_by`",
                )
            for domain, other in ((first, second), (second, first)):
                if domain.hospitals is None:
                    raise UserError(
                        f"nothing says where the patients of the domain '{domain.name}' were treated: they may be "
                        f"patients of '{other.name}' too, trained on in one and held out in the other",
                        where=planner.loaded.place("domains"),
                        mend="say it with the data set's parameter `hospitals`, or, in a data set of your own, its "
                        "attribute of that name",
                    )
            assert first.hospitals is not None
            assert second.hospitals is not None
            common = sorted(first.hospitals & second.hospitals)
            if common:
                raise UserError(
                    f"the domains '{first.name}' and '{second.name}' may share patients of {', '.join(common)}: one "
                    "could be trained on in one and held out in the other",
                    where=planner.loaded.place("transfer"),
                    mend="take domains of different hospitals into one transfer",
                )


def _each(listed: Sequence[str], names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for word in listed for name in (names if word == EACH else (word,))))


def _choices(name: str, names: Sequence[str]) -> str:
    near: Any = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"{hint}choices: {', '.join(names) or 'none'}"
