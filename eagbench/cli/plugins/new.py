"""`eagbench plugins new`: writes a package with one component that keeps the contract of its kind."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib.resources import files
from pathlib import Path

import numpy as np

from eagbench.cli.plugins.examples import command_of, example_benchmark
from eagbench.errors import UserError
from eagbench.execution.whole_files import write_text
from eagbench.registry.listing import KINDS
from eagbench.registry.plugins import load_registry

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_BENCHMARK = "benchmark.yaml"
# In benchmark and tests of a data set, relative to the package's folder.
_MADE_UP = "tests/data"


def write_package(kind: str, name: str, out: Path | None) -> str:
    """Write an installable package: a component, its conformance tests, and a benchmark that uses it.

    Args:
        kind: The kind of component.
        name: Its name in a benchmark.
        out: The package's folder; None for one named after the component, in the working folder.

    Returns:
        What to do next.

    Raises:
        UserError: There is no such kind, the name can't be used, or the folder exists.
    """
    _check(kind, name)
    distribution = f"eagbench-{name.replace('_', '-')}"
    folder = Path(distribution) if out is None else out
    if folder.exists():
        raise UserError(f"'{folder}' exists already", where="--out", hint="name a folder that does not")
    for path, text in _contents(kind, name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / path, text)
    return "\n".join(
        (
            f"written: {folder}, of which eagbench_{name}/plugin.py is yours to change",
            f"  cd {folder}",
            "  pip install -e '.[test]'",
            "  pytest",
            f"  {command_of(kind, name, _BENCHMARK)}",
        )
    )


def _check(kind: str, name: str) -> None:
    if kind not in KINDS:
        raise UserError(f"there is no kind '{kind}'", where="KIND", hint="choices: " + ", ".join(KINDS))
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UserError(
            f"'{name}' can't be the name of a component", where="NAME", hint="write it in snake_case, e.g. my_score"
        )
    registry = load_registry()
    if registry.has(kind, name):
        owner = registry.components.get((kind, name)) or (registry.get(kind, name),)
        raise UserError(
            f"the {kind} '{name}' of {owner[0].distribution} has that name, and two of a name can't be used",
            where="NAME",
            hint="choose another name",
        )
    if importlib.util.find_spec(f"eagbench_{name}") is not None:
        raise UserError(
            f"a package eagbench_{name} is installed", where="NAME", hint="choose another name, or uninstall it"
        )


def _contents(kind: str, name: str) -> dict[str, str]:
    """Write each file of the package, by its path in the package's folder."""
    package = f"eagbench_{name}"
    own_tests = f"test_conformance.{kind}.py"
    tests = own_tests if (files(__package__) / "templates" / f"{own_tests}.txt").is_file() else "test_conformance.py"
    made_up = _made_up_stays() if kind == "dataset" else {}
    words = {f"{package}/{name}.yaml": _filled("prompt.yaml", kind, name)} if kind == "prompt" else {}
    params = {"root": _MADE_UP, "access": "synthetic"} if made_up else {}
    return {
        "pyproject.toml": _filled("pyproject.toml", kind, name),
        "README.md": _filled("README.md", kind, name).replace("RUN", command_of(kind, name, _BENCHMARK)),
        _BENCHMARK: example_benchmark(kind, name, params),
        f"{package}/__init__.py": _filled("__init__.py", kind, name),
        f"{package}/plugin.py": _filled(f"{kind}.py", kind, name),
        "tests/test_conformance.py": _filled(tests, kind, name),
        **words,
        **{f"{_MADE_UP}/{file}": text for file, text in made_up.items()},
    }


def _filled(template: str, kind: str, name: str) -> str:
    """Read a template and put the component's names into it."""
    text = (files(__package__) / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    words = name.replace("_", " ")
    names = {
        "my_component": name,
        "my-component": name.replace("_", "-"),
        "MyComponent": words.title().replace(" ", ""),
        "My component": words.capitalize(),
        "KindConformance": f"{kind.capitalize()}Conformance",
        "KIND": kind,
    }
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)


def _made_up_stays(n_stays: int = 120) -> dict[str, str]:
    """Make up stays for a data set's tests: a high lactate goes with death."""
    rng = np.random.default_rng(0)
    stays, measured = ["stay,patient,age,sex,died"], ["stay,hour,heart_rate,systolic_blood_pressure,lactate"]
    for n in range(n_stays):
        lactate = rng.lognormal(0.7, 0.5)
        died = int(rng.random() < 1 / (1 + np.exp(3 - lactate)))
        stays.append(f"stay-{n},patient-{n},{rng.integers(20, 90)},{rng.integers(2)},{died}")
        for hour in sorted(rng.choice(48, size=4, replace=False)):
            taken = f"{lactate * rng.uniform(0.8, 1.2):.1f}" if rng.random() < 0.7 else ""
            measured.append(f"stay-{n},{hour},{rng.normal(90, 12):.0f},{rng.normal(115, 15):.0f},{taken}")
    return {file: "\n".join(lines) + "\n" for file, lines in (("stays.csv", stays), ("measurements.csv", measured))}
