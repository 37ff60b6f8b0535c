"""What counts as the code behind a number, on small packages written for the purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from eagbench.registry import kept, listing, plugins
from eagbench.registry.import_closure import import_closure
from eagbench.registry.kept import Kept
from eagbench.registry.source_modules import parse
from eagbench.registry.third_party import distribution_of, versions

PLAIN = "import numpy as np\n\n\ndef mean(values):\n    return np.mean(values)\n"


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        (PLAIN.replace("return", "# the plain mean\n    return"), True),
        (PLAIN.replace("    return", '    """Averages."""\n    return'), True),
        ('"""A module."""\n' + PLAIN, True),
        (PLAIN.replace("np.mean(values)", "np.mean(\n        values,\n    )"), True),
        (PLAIN.replace("mean(values)", "median(values)"), False),
        (PLAIN.replace("    return", '    "averages"; values = values[1:]\n    return'), False),
        (PLAIN + "\nprint(mean.__doc__)\n", False),
    ],
)
def test_only_code_counts(changed: str, is_same: bool) -> None:
    assert (parse(changed, "p").digest == parse(PLAIN, "p").digest) is is_same


def test_a_docstring_counts_where_the_module_reads_it() -> None:
    reader = 'def prompt():\n    """{}"""\n    return prompt.__doc__\n'
    assert parse(reader.format("How likely?"), "p").digest != parse(reader.format("How probable?"), "p").digest


def test_imports_are_found_wherever_they_stand() -> None:
    text = """
import a.b, c as other
from . import near
from ..above import thing
from far import *
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import types_only
else:
    import at_run_time
try:
    import optional
except ImportError:
    import instead
try:
    import needed
finally:
    pass
def late():
    with open("x") as stream:
        import in_function
    match 1:
        case 1:
            from in_case import x
"""
    found = {(i.module, i.name): i.optional for i in parse(text, "p.q").imports}
    assert found == {
        ("a.b", None): False, ("c", None): False, ("p.q", "near"): False, ("p.above", "thing"): False,
        ("far", None): False, ("typing", "TYPE_CHECKING"): False, ("at_run_time", None): False,
        ("optional", None): True, ("instead", None): False, ("needed", None): False, ("in_function", None): False,
        ("in_case", "x"): False,
    }  # fmt: skip


Package = Callable[[str, Mapping[str, str]], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Writes a package, and puts it where it can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, files: Mapping[str, str]) -> None:
        for path, text in {"__init__.py": "", **files}.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)

    return write


def test_the_closure_follows_own_modules_and_names_third_parties(package: Package) -> None:
    files = {
        "expert.py": "import sklearn.linear_model\nfrom closure_one.parts import halves\n"
        "from eagbench.api import Case\n",
        "parts/__init__.py": "",
        "parts/halves.py": "def half():\n    import scipy.stats\n    try:\n        import no_such_package\n"
        "    except ImportError:\n        pass\n",
        "parts/table.csv": "a,b\n",
        "parts/more/list.txt": "a\n",
        "parts/package/__init__.py": "",
        "parts/package/other.csv": "not of this package\n",
        "unused.py": "import torch\n",
    }
    package("closure_one", files)
    found = import_closure("closure_one.expert")
    own = {name for name in found.digests if name.startswith("closure_one")}
    assert own == {
        "closure_one", "closure_one.expert", "closure_one.parts", "closure_one.parts.halves",
        "closure_one.parts:table.csv", "closure_one.parts:more/list.txt",
    }  # fmt: skip
    core = {name for name in found.digests if name.startswith("eagbench.")}
    assert "eagbench.contracts.records" in core
    assert "eagbench.api" not in core
    assert "eagbench.prompting.answering" not in core
    assert {"sklearn", "scipy"} <= found.required
    assert "torch" not in found.required
    assert found.optional == {"no_such_package"}


def test_a_module_that_belongs_to_no_distribution_counts_with_its_source(package: Package) -> None:
    package("closure_two", {"metric.py": "import closure_three.helper\n"})
    package("closure_three", {"helper.py": "X = 1\n"})
    found = import_closure("closure_two.metric")
    assert "closure_three.helper" in found.digests
    assert not found.required


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_closure("closure_four.nothing")


def test_versions_contain_the_numeric_packages_behind_a_package() -> None:
    assert distribution_of("sklearn") == "scikit-learn"
    assert distribution_of("no_such_package") is None
    found = versions(["lightgbm"])
    assert set(found) == {"lightgbm", "numpy", "scipy"}
    assert {"torch", "transformers", "accelerate"} <= set(versions(["trl"]))


def test_a_fact_is_kept_while_its_files_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_SETTLED_SECONDS", 0.0)
    file, folder = tmp_path / "a.txt", tmp_path / "folder"
    file.write_text("1")
    folder.mkdir()

    def keep(value: int) -> None:
        opened = Kept("facts")
        opened.put("fact", [str(file), str(folder)], value)
        opened.save()

    keep(1)
    assert Kept("facts").get("fact") == 1
    file.write_text("2")
    assert Kept("facts").get("fact") is None
    keep(2)
    (folder / "another").touch()
    assert Kept("facts").get("fact") is None
    keep(3)
    [path] = (tmp_path / "cache" / "eagbench").iterdir()
    path.write_text("no JSON")
    assert Kept("facts").get("fact") is None


def test_nothing_is_kept_of_a_file_that_changed_just_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "a.txt"
    file.write_text("1")
    opened = Kept("facts")
    assert opened.of_files("fact", [str(file)], lambda: 1) == 1
    assert opened.of_files("fact", [str(file)], lambda: 2) == 2


def test_a_second_process_parses_nothing_again(tmp_path: Path) -> None:
    code = (
        "import eagbench.registry.import_closure as c\n"
        "import eagbench.registry.kept as k\n"
        "from eagbench.registry.code_versions import code_version\n"
        "k._SETTLED_SECONDS = 0.0\n"
        "parsed, real = [], c.parse\n"
        "c.parse = lambda text, package: (parsed.append(package), real(text, package))[1]\n"
        "print(code_version('eagbench.stages.score').version)\n"
        "c.kept_code().save()\n"
        "print(len(parsed))\n"
    )

    def run() -> list[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()

    (version, n_first), (again, n_second) = run(), run()
    assert version == again
    assert int(n_first) > 20
    assert int(n_second) == 0


def test_kinds_are_those_that_have_a_hook() -> None:
    assert tuple(plugins.KINDS) == listing.KINDS


def test_a_listing_is_what_discovery_finds(tmp_path: Path) -> None:
    code = (
        "import eagbench.registry.kept as k\n"
        "k._SETTLED_SECONDS = 0.0\n"
        "import sys\n"
        "from eagbench.cli.plugin_list import list_plugins\n"
        "print(list_plugins(None))\n"
        "print('eagbench_plugins' in sys.modules)\n"
    )

    def run() -> list[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()

    (*found, imported), (*listed, imported_again) = run(), run()
    assert listed == found
    assert len(found) > 80
    assert (imported, imported_again) == ("True", "False")
