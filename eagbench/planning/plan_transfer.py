"""Lay out the domains of a benchmark and their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eagbench.config.benchmark import ALL, EACH, LEAVE_ONE_OUT, ComponentSpec
from eagbench.config.suggestions import choices
from eagbench.config.yaml_source import KeyPath
from eagbench.contracts.components import SourceGenerator
from eagbench.contracts.stages import CasesInput, Input, StageNode, StageOutput
from eagbench.contracts.traits import DatasetTraits, traits_of
from eagbench.errors import UserError
from eagbench.planning.domains import Domain, Pair, Transfer
from eagbench.planning.patient_split import ContentHashes, PatientSplit
from eagbench.planning.stage_graph import StageGraph


def plan_transfer(graph: StageGraph, split: PatientSplit, contents: ContentHashes) -> Transfer:
    """Lay out the domains and their pairs.

    Args:
        graph: The plan's stages.
        split: How to divide the patients.
        contents: Hashes the files of data sets.

    Raises:
        UserError: A domain is unknown, its data are missing, or two domains may share patients.
    """
    data_sets = _DataSets(graph, split, contents)
    benchmark = graph.benchmark
    if benchmark.transfer is None:
        domain = data_sets.domain(None)
        return Transfer((domain,), (Pair(domain, domain),))
    return _of_one_data_set(data_sets) if benchmark.domain_by is not None else _of_data_sets(data_sets)


def domain_name(name: str, access: str) -> str:
    """Name a domain in results, marking a synthetic one wherever its numbers appear."""
    return f"{name} (SYNTHETIC)" if access == "synthetic" else name


@dataclass(frozen=True, slots=True)
class _DataSets:
    graph: StageGraph
    split: PatientSplit
    contents: ContentHashes

    def domain(self, name: str | None) -> Domain:
        """Make the domain of a whole data set: the one under `domains` with this name, or that of `data` if None."""
        benchmark = self.graph.benchmark
        spec = benchmark.data if name is None else benchmark.domains[name]
        assert spec is not None
        cohort, dataset = self._cohort(spec, ("data",) if name is None else ("domains", name))
        access = dataset.access()
        split = self.graph.add(self.split.stage(cohort, "split" if name is None else f"split of {name}"))
        shown = domain_name(name or spec.name, access)
        declared = traits_of(dataset, DatasetTraits).hospitals
        hospitals = None if declared is None else frozenset(" ".join(name.split()).casefold() for name in declared)
        return Domain(shown, shown, cohort, split, access, frozenset({shown}), hospitals)

    def _cohort(self, spec: ComponentSpec, path: KeyPath) -> tuple[StageNode, Any]:
        """Declare the stage that loads a data set, and return it with the data set's component."""
        registered, params = self.graph.validated("dataset", spec.name, spec.params, path)
        dataset: Any = registered.component(params)
        files = list(dataset.files())
        use = self.graph.use("dataset", spec.name, spec.params, path, content=bool(files))
        inputs: dict[str, Input] = {}
        if not files:
            if not isinstance(dataset, SourceGenerator):
                raise TypeError(f"{registered.component.__qualname__} lists no files and has no `generate`")
            source = StageNode("source", spec.name, "eagbench.stages.cohort:generate", {}, {}, component=use)
            inputs["source"] = StageOutput(self.graph.add(source))
        content = self.contents.content_hash(files) if files else None
        load = "eagbench.stages.cohort:load"
        return self.graph.add(StageNode("cohort", spec.name, load, {}, inputs, component=use, content=content)), dataset


def _of_data_sets(data_sets: _DataSets) -> Transfer:
    graph = data_sets.graph
    spec = graph.benchmark.transfer
    assert spec is not None
    names = list(graph.benchmark.domains)
    train, evaluate = _each(spec.train, names), _each(spec.evaluate, names)
    used = [name for name in names if name in (*train, *evaluate)]
    if len(used) == 1:
        raise UserError(
            f"trained and evaluated in one domain, '{used[0]}', nothing is transferred",
            where=graph.place(("transfer",)),
            hint=f"choices: {', '.join(names)}, {EACH}",
        )
    domains = {name: data_sets.domain(name) for name in used}
    _refuse_shared_patients(graph, [domains[name] for name in used])
    shared = _shared(graph, [domains[name] for name in used], ())
    pairs = [(domains[t], domains[e]) for t in train for e in evaluate]
    return _transfer(graph, pairs, shared, shared if spec.features.text == "shared" else None)


def _of_one_data_set(data_sets: _DataSets) -> Transfer:
    graph = data_sets.graph
    spec, fact = graph.benchmark.transfer, graph.benchmark.domain_by
    assert spec is not None
    assert fact is not None
    whole = data_sets.domain(None)
    names = _values_of(graph, fact)
    _check_words(graph, fact, names)
    made: dict[tuple[str, ...], Domain] = {}

    def domain(values: tuple[str, ...], label: str) -> Domain:
        return made.setdefault(values, _part_of(graph, whole, fact, values, label))

    evaluate = [domain((name,), name) for name in _each(spec.evaluate, names)]
    pairs: list[tuple[Domain, Domain]] = []
    for word in spec.train:
        if word == LEAVE_ONE_OUT:
            # Train on all domains but one, evaluate on that one.
            for target in evaluate:
                rest = tuple(n for n in names if domain_name(n, whole.access) not in target.holds)
                pairs.append((domain(rest, f"all but {next(n for n in names if n not in rest)}"), target))
        elif word == ALL:
            pairs.extend((domain(tuple(names), ALL), target) for target in evaluate)
        else:
            for name in _each((word,), names):
                pairs.extend((domain((name,), name), target) for target in evaluate)
    # Hide the fact that divides the domains from every method: it would tell a model which domain it is in.
    shared = _shared(graph, [whole], (fact,))
    return _transfer(graph, list(dict.fromkeys(pairs)), shared, shared)


def _values_of(graph: StageGraph, fact: str) -> list[str]:
    """Return the values of a fact by which the benchmark's data set can be divided."""
    data = graph.benchmark.data
    assert data is not None
    registered, params = graph.validated("dataset", data.name, data.params, ("data",))
    declared = traits_of(registered.component(params), DatasetTraits).groups
    if fact not in declared:
        raise UserError(
            f"the data set '{data.name}' declares no fact '{fact}' by which its cases can be divided",
            where=graph.place(("domain_by",)),
            hint=choices(fact, declared),
        )
    return list(declared[fact])


def _check_words(graph: StageGraph, fact: str, names: Sequence[str]) -> None:
    """Refuse a training or evaluation domain that is not a value of the fact."""
    spec = graph.benchmark.transfer
    assert spec is not None
    for key, listed, words in (
        ("train", spec.train, (EACH, LEAVE_ONE_OUT, ALL)),
        ("evaluate", spec.evaluate, (EACH,)),
    ):
        for name in listed:
            if name not in (*names, *words):
                raise UserError(
                    f"'{fact}' has no value '{name}'",
                    where=graph.place(("transfer", key)),
                    hint=choices(name, [*names, *words]),
                )


def _part_of(graph: StageGraph, whole: Domain, fact: str, values: tuple[str, ...], label: str) -> Domain:
    """Make the domain of the cases of a data set whose fact has one of the values."""
    select = graph.add(
        StageNode(
            "domain",
            label,
            "eagbench.stages.domains:select",
            {**whole.split.params, "fact": fact, "values": sorted(values), "domain": label},
            {"cohort": StageOutput(whole.cohort), "split": StageOutput(whole.split)},
        )
    )
    holds = frozenset(domain_name(value, whole.access) for value in values)
    return Domain(domain_name(label, whole.access), whole.name, whole.cohort, select, whole.access, holds)


def _shared(graph: StageGraph, domains: Sequence[Domain], without: tuple[str, ...]) -> StageNode:
    spec = graph.benchmark.transfer
    assert spec is not None
    inputs: dict[str, Input] = {f"cohort{i}": StageOutput(domain.cohort) for i, domain in enumerate(domains)}
    return graph.add(
        StageNode(
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
    )


def _transfer(
    graph: StageGraph, pairs: Sequence[tuple[Domain, Domain]], shared: StageNode, text: StageNode | None
) -> Transfer:
    made = tuple(Pair(train, target, _shift(graph, train, target, shared)) for train, target in pairs)
    domains = dict.fromkeys([*(pair.evaluate for pair in made), *(pair.train for pair in made)])
    return Transfer(tuple(domains), made, columns=shared, text=text, shared=shared)


def _shift(graph: StageGraph, train: Domain, target: Domain, shared: StageNode) -> StageNode | None:
    if train.holds & target.holds:
        return None
    # Sort the two, so that both directions share one comparison.
    first, second = sorted((train, target), key=lambda domain: domain.name)
    inputs: dict[str, Input] = {
        name: CasesInput(domain.split, 0, "train", concepts=shared)
        for name, domain in (("first", first), ("second", second))
    }
    return graph.add(
        StageNode(
            "covariate_shift",
            f"{first.name} and {second.name}",
            "eagbench.stages.domains:covariate_shift",
            {"one_data_set": first.data == second.data},
            inputs,
            seed=graph.benchmark.split.seed,
        )
    )


def _refuse_shared_patients(graph: StageGraph, domains: Sequence[Domain]) -> None:
    """Refuse domains that may share patients: one could be trained on in one domain and held out in another."""
    for i, first in enumerate(domains):
        for second in domains[i + 1 :]:
            if first.cohort.content is not None and first.cohort.content == second.cohort.content:
                raise UserError(
                    f"the domains '{first.name}' and '{second.name}' are read from the same files: a patient could be "
                    "trained on in one and held out in the other",
                    where=graph.place(("domains",)),
                    hint="divide one data set with `data` and `domain_by`",
                )
            for domain, other in ((first, second), (second, first)):
                if domain.hospitals is None:
                    raise UserError(
                        f"nothing says where the patients of the domain '{domain.name}' were treated: they may be "
                        f"patients of '{other.name}' too, trained on in one and held out in the other",
                        where=graph.place(("domains",)),
                        hint="say it with the data set's parameter `hospitals`, or, in a data set of your own, its "
                        "trait of that name",
                    )
            assert first.hospitals is not None
            assert second.hospitals is not None
            common = sorted(first.hospitals & second.hospitals)
            if common:
                raise UserError(
                    f"the domains '{first.name}' and '{second.name}' may share patients of {', '.join(common)}: one "
                    "could be trained on in one and held out in the other",
                    where=graph.place(("transfer",)),
                    hint="take domains of different hospitals into one transfer",
                )


def _each(listed: Sequence[str], names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for word in listed for name in (names if word == EACH else (word,))))
