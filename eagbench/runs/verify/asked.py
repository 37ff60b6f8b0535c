"""What the manifest says was asked follows from its benchmark; flags and stamps follow from the data."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

import eagbench
from eagbench.analysis.cells import CLEAN
from eagbench.analysis.metric_uses import MetricUse, present_name
from eagbench.config.benchmark import Benchmark, ComponentSpec
from eagbench.contracts.traits import MethodTraits, traits_of
from eagbench.errors import UserError
from eagbench.planning.expert_method import ExpertMethod
from eagbench.planning.plan_transfer import domain_name
from eagbench.registry.plugins import load_registry
from eagbench.runs.manifest import clean_condition, described_condition
from eagbench.runs.verify.findings import Findings

_STAMP = domain_name("", "synthetic")


def check_asked(manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check methods, conditions, metrics, seeds, intervals, and what is stamped on the results."""
    try:
        benchmark = Benchmark.model_validate(manifest["benchmark"])
    except ValidationError as error:
        findings.problems.append(f"manifest.json: benchmark is none: {error.errors()[0]['msg']}")
        return
    known = len(findings.problems)
    for name, found, expected in _settings(manifest, benchmark):
        if found != expected:
            findings.problems.append(f"manifest.json: {name} is {found!r}, by the benchmark {expected!r}")
        findings.count("settings that follow from the benchmark")
    if len(findings.problems) > known:
        return
    try:
        _check_declared(manifest, benchmark, findings)
    except (UserError, ValidationError) as error:
        findings.problems.append(f"manifest.json: {str(error).partition(chr(10))[0]}")
    _check_access(manifest, benchmark, findings)


def _settings(manifest: Mapping[str, Any], benchmark: Benchmark) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each setting, what the manifest says, and what the benchmark says."""
    yield "name", manifest["name"], benchmark.name
    yield "seeds", manifest["seeds"], list(benchmark.seeds)
    yield "threads", manifest["threads"], benchmark.threads
    yield "split", manifest["split"], benchmark.split.model_dump(mode="json")
    yield "intervals", manifest["intervals"], benchmark.intervals.model_dump(mode="json")
    spec = benchmark.subgroups
    yield "subgroups", manifest["subgroups"], None if spec is None else spec.model_dump(mode="json")
    claim = benchmark.comparisons
    claimed = None if claim is None else {"method": claim.method, "metric": present_name(claim.metric)}
    yield "comparisons", manifest["comparisons"], claimed
    labels = [(method["label"], present_method(method["name"])) for method in manifest["methods"]]
    yield "methods", labels, [(method.label, present_method(method.name)) for method in benchmark.methods]
    names = [present_name(metric.name) for metric in benchmark.metrics]
    yield "metrics", [metric["name"] for metric in manifest["metrics"]], names
    asked = [condition.label for condition in benchmark.conditions]
    yield "conditions", list(dict.fromkeys(c["name"] for c in manifest["conditions"])), asked
    listed = {
        condition.label: sorted({*condition.severity})
        for condition in benchmark.conditions
        if condition.severity and not condition.level
    }
    given = {name: [c["severity"] for c in manifest["conditions"] if c["name"] == name] for name in listed}
    yield "conditions", given, listed
    features = None if benchmark.transfer is None else benchmark.transfer.features.model_dump()
    yield "transfer.features", manifest["transfer"]["features"], features
    data = list(benchmark.domains) or [benchmark.data.name if benchmark.data else ""]
    used = [name for name in data if not benchmark.domains or _is_used(name, benchmark)]
    yield "data", sorted(name.removesuffix(_STAMP) for name in manifest["data"]), sorted(used)


def _is_used(name: str, benchmark: Benchmark) -> bool:
    transfer = benchmark.transfer
    return transfer is not None and bool({name, "each"} & {*transfer.train, *transfer.evaluate})


def present_method(name: str) -> str:
    """Return the current name of a method or expert, or the name itself if it is not installed."""
    registry = load_registry()
    kinds = [kind for kind in ("method", "expert") if registry.has(kind, name)]
    return registry.get(kinds[0], name).name if kinds else name


def _check_declared(manifest: Mapping[str, Any], benchmark: Benchmark, findings: Findings) -> None:
    """Check that metrics, methods and conditions declare what the installed ones do: numbers are recomputed with that.

    Other versions may declare something else, so that a difference proves nothing then.

    Raises:
        UserError: A component is not installed.
    """
    problems: list[str] = []
    absent = 0
    for record in manifest["metrics"]:
        installed = MetricUse.registered(record["name"], record["params"]).record()
        if record["traits"] != json.loads(json.dumps(installed["traits"])):
            problems.append(f"the metric '{record['name']}' declares other traits than the installed one")
    for method, spec in zip(manifest["methods"], benchmark.methods, strict=True):
        kind = next((kind for kind in ("method", "expert") if load_registry().has(kind, spec.name)), None)
        if kind is None:
            absent += 1
            continue
        asked = load_registry().params(kind, spec.name, spec.params).model_dump(mode="json")
        if method["params"] != asked or method["reads"] != _reads(method):
            problems.append(f"the method '{method['label']}' has other parameters, or reads something else")
    for condition in manifest["conditions"]:
        declared = _declared(condition)
        absent += not declared
        other = [key for key, value in declared.items() if condition[key] != value]
        if other:
            problems.append(f"the condition '{condition['name']}' has another {', '.join(other)}")
    n = sum(len(manifest[kind]) for kind in ("metrics", "methods", "conditions")) - absent
    if absent:
        findings.leave_open("methods and conditions whose plugin is not installed", absent)
    if problems and not _is_same_code(manifest):
        findings.leave_open("metrics, methods and conditions that another version declares otherwise", len(problems))
        n -= len(problems)
    else:
        findings.problems += [f"manifest.json: {problem}" for problem in problems]
    findings.count("metrics, methods and conditions that declare what the installed ones do", n)


def _is_same_code(manifest: Mapping[str, Any]) -> bool:
    """Say whether eagbench and the packages behind the run are installed in the versions that it used."""
    installed = {name: _version(name) for name in manifest["versions"]}
    other = [name for name, found in installed.items() if found not in (None, manifest["versions"][name])]
    return manifest["eagbench_version"] == eagbench.__version__ and not other


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reads(method: Mapping[str, Any]) -> str:
    registry = load_registry()
    if not registry.has("method", method["name"]):
        return ExpertMethod.traits.reads
    return traits_of(registry.create("method", method["name"], method["params"]), MethodTraits).reads


def _declared(condition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the installed perturbation says of a condition; nothing if it is not installed."""
    used = condition["perturbation"]
    if condition["name"] == CLEAN or not isinstance(used, dict):
        return clean_condition()
    name = str(used.get("name"))
    return described_condition(name) if load_registry().has("perturbation", name) else {}


def _check_access(manifest: Mapping[str, Any], benchmark: Benchmark, findings: Findings) -> None:
    """Check what follows from the access policy of the data: the policy itself, the flag, the names of domains."""
    domains = manifest["transfer"]["domains"]
    specs = {**benchmark.domains, **({} if benchmark.data is None else {benchmark.data.name: benchmark.data})}
    for name, data in manifest["data"].items():
        access = _access(specs.get(name.removesuffix(_STAMP)), findings)
        for said in {data["access"], *(d["access"] for d in domains if d["data"] == name)}:
            if access is not None and said != access:
                findings.problems.append(f"manifest.json: the access of {name} is '{said}', of its data set '{access}'")
        findings.count("data sets with the access they declare", int(access is not None))
    for domain in domains:
        stem = domain["name"].removesuffix(_STAMP)
        if domain["name"] != domain_name(stem, domain["access"]):
            findings.problems.append(
                f"manifest.json: the domain {domain['name']} is {domain['access']} by its data set"
            )
    policies = {domain["access"] for domain in domains}
    strictest = next(p for p in ("credentialed", "synthetic", "open") if p in policies)
    if manifest["access"] != strictest:
        findings.problems.append(f"manifest.json: access is '{manifest['access']}', of its domains '{strictest}'")
    if manifest["synthetic"] != ("synthetic" in policies):
        findings.problems.append(f"manifest.json: synthetic is {manifest['synthetic']}, by its domains it is not so")


def _access(spec: ComponentSpec | None, findings: Findings) -> str | None:
    """Ask the installed data set for its access policy; None if it is not installed or refuses its parameters."""
    if spec is None:
        return None
    try:
        return str(load_registry().create("dataset", spec.name, spec.params).access())
    except (UserError, ValidationError):
        findings.leave_open("data sets whose access policy is unknown here: they are not installed")
        return None
