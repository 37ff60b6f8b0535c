"""The domains of a benchmark and their pairs: where methods are trained and where they are evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from eagbench.contracts.records import Access, Reads
from eagbench.contracts.stages import StageNode


@dataclass(frozen=True, eq=False)
class Domain:
    """Cases on which methods are trained or evaluated.

    Attributes:
        name: Its name in results; a synthetic one says so.
        data: The name of its data set in the manifest.
        cohort: The stage that loads its data set.
        split: The stage that divides its patients.
        access: The access policy of its data.
        holds: Names of the domains whose cases it contains: its own, or several for a pooled one.
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
    """A domain to train in and a domain to evaluate in.

    Attributes:
        train: Where methods are trained.
        evaluate: Where they are evaluated.
        shift: The stage that compares their records; None where the two have cases in common.
    """

    train: Domain
    evaluate: Domain
    shift: StageNode | None = None


@dataclass(frozen=True, eq=False)
class Transfer:
    """The domains of a benchmark.

    Attributes:
        domains: Every domain, the evaluated ones first.
        pairs: The training and evaluation domains that the benchmark pairs.
        columns: The stage that restricts what methods that read columns see; None for the whole record.
        text: The same for methods that read text.
        shared: The stage that lists what the domains share; None for a benchmark with one domain.
    """

    domains: tuple[Domain, ...]
    pairs: tuple[Pair, ...]
    columns: StageNode | None = None
    text: StageNode | None = None
    shared: StageNode | None = None

    def concepts(self, reads: Reads) -> StageNode | None:
        """Return the stage that restricts the records of a method, None for whole records."""
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
        """Whether the benchmark has domains to transfer between, not just the one of a benchmark with `data` alone."""
        return self.shared is not None
