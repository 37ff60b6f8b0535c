"""`eagbench plugins check`: the conformance tests of all that a package registers, each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from eagbench.config.yaml_source import Source, apply_set
from eagbench.errors import UserError
from eagbench.registry.plugins import Registered, Registry, discover

# A component is tested as its author would: by a subclass of the conformance class of its kind.
_TEST = """\
import json
from pathlib import Path

from eagbench import testing
from eagbench.registry.plugins import load_registry

asked = json.loads(Path(__file__).with_name("asked.json").read_text(encoding="utf-8"))
base = next(found for found in vars(testing).values() if getattr(found, "kind", None) == asked["kind"])


class TestComponent(base):
    component = load_registry().get(asked["kind"], asked["name"]).component
    params = asked["params"]
"""
_OK, _FAILED, _SKIPPED, _NOT_CHECKED = "ok", "FAILED", "skipped", "NOT CHECKED"


@dataclass(frozen=True, slots=True)
class Check:
    """A check and how it ended.

    Attributes:
        result: `ok`, `FAILED`, `skipped` or `NOT CHECKED`.
        what: What was checked, in words.
        details: Why it did not pass; empty if it did.
    """

    result: str
    what: str
    details: str = ""

    def text(self) -> str:
        """Write the check, with its details indented below."""
        first = f"  {self.result:<11} {self.what}"
        return first + ("\n" + textwrap.indent(self.details.strip(), " " * 14) if self.details else "")


def check_package(package: str, sets: tuple[str, ...], say: Callable[[str], None]) -> bool:
    """Check the components that a package registers, and say every check when it is done.

    Args:
        package: The name of an installed distribution, or of one of its plugins.
        sets: Parameters of components, as `name.key=value`.
        say: Prints a text.

    Returns:
        Whether all passed. A component that can't be made without parameters counts as not passed.

    Raises:
        UserError: No plugin comes from the package, a parameter names none of its components, or pytest is missing.
    """
    if importlib.util.find_spec("pytest") is None:
        raise UserError("the checks need pytest, which is not installed", hint="pip install pytest")
    registry = discover()  # not from what was kept: the package as it is now
    distribution = _distribution(registry, package)
    components = sorted(
        (c for c in registry if c.distribution == distribution), key=lambda found: (found.kind, found.name)
    )
    params = _params(components, sets)
    checks: list[Check] = []
    for broken in (b for b in registry.broken if b.distribution == distribution):
        say(f"plugin '{broken.plugin}'")
        checks.append(Check(_FAILED, f"can be loaded: {broken.reason}", broken.details))
        say(checks[-1].text())
    for registered in components:
        say(f"{registered.kind} '{registered.name}'")
        for check in _checks(registry, registered, params.get(registered.name, {})):
            checks.append(check)
            say(check.text())
    counts = [(sum(check.result == result for check in checks), result) for result in (_OK, _FAILED, _SKIPPED)]
    n_not = sum(check.result == _NOT_CHECKED for check in checks)
    say(f"{distribution}: " + ", ".join(f"{n} {result}" for n, result in (*counts, (n_not, "not checked")) if n))
    return bool(checks) and not any(check.result in (_FAILED, _NOT_CHECKED) for check in checks)


def _distribution(registry: Registry, package: str) -> str:
    """Find the distribution that a user means by its own name, its import name or a plugin's."""
    known: set[tuple[str, str]] = {(found.distribution, found.plugin) for found in registry}
    known |= {(found.distribution, found.plugin) for found in registry.broken}
    wanted = _normalised(package)
    fits = {of for of, plugin in known if wanted in (_normalised(of), _normalised(plugin))}
    if len(fits) != 1:
        choices = ", ".join(sorted({of for of, _ in known}))
        raise UserError(f"no plugin comes from a package '{package}'", where="PACKAGE", hint=f"choices: {choices}")
    return fits.pop()


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _params(components: list[Registered], sets: tuple[str, ...]) -> Mapping[str, Mapping[str, Any]]:
    """Read the given parameters, by the component's name."""
    source = Source({found.name: {} for found in components})
    for assignment in sets:
        name = assignment.partition(".")[0]
        if name not in source.tree:
            raise UserError(
                f"the package registers no component '{name}'",
                where=f"--set {assignment.partition('=')[0]}",
                hint="write NAME.KEY=VALUE; choices: " + ", ".join(sorted(source.tree)),
            )
        apply_set(source, assignment)
    return source.tree


def _checks(registry: Registry, registered: Registered, params: Mapping[str, Any]) -> list[Check]:
    """Check one component."""
    component: Any = registered.component
    claimants = registry.components[registered.kind, registered.name]
    if len(claimants) > 1:
        owners = ", ".join(claimant.distribution for claimant in claimants)
        return [Check(_FAILED, "its name is its own", f"registered by {owners}, so none of them can be used")]
    missing = [key for key, field in component.Params.model_fields.items() if field.is_required() and key not in params]
    if missing:
        given = " ".join(f"--set {registered.name}.{key}=..." for key in missing)
        return [Check(_NOT_CHECKED, "it can't be made without parameters", f"give {given}")]
    asked = {"kind": registered.kind, "name": registered.name, "params": dict(params)}
    with tempfile.TemporaryDirectory() as folder:
        return _tested(Path(folder), asked)


def _tested(folder: Path, asked: Mapping[str, Any]) -> list[Check]:
    """Run the conformance tests in a process of their own: what a component does to it reaches no other."""
    (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    (folder / "test_component.py").write_text(_TEST, encoding="utf-8")
    # No settings and no pytest plugin of whoever asks changes what is tested.
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-c", os.devnull]
    command += [f"--rootdir={folder}", "--basetemp=made", "--junitxml=results.xml", "test_component.py"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    results = folder / "results.xml"
    found = _read(ElementTree.parse(results).getroot()) if results.is_file() else []
    if found:
        return found
    said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
    return [Check(_FAILED, f"the process of its tests ended with code {done.returncode}", said)]


def _read(results: ElementTree.Element) -> list[Check]:
    """Read pytest's results."""
    checks = []
    for case in results.iter("testcase"):
        what = case.get("name", "").removeprefix("test_").replace("_", " ")
        failure = next((e for e in case if e.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        if failure is not None:
            checks.append(Check(_FAILED, what, failure.text or failure.get("message") or ""))
        elif skipped is not None:
            checks.append(Check(_SKIPPED, what, skipped.get("message", "")))
        else:
            checks.append(Check(_OK, what))
    return checks
