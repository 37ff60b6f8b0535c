"""Import directions, and commands that must be quick to start."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CORE = ROOT / "eagbench"
PLUGINS = ROOT / "plugins" / "eagbench_plugins"


def imports_of(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def core_imports(path: Path) -> set[str]:
    """Modules of the core that a module imports for real; those under TYPE_CHECKING are names only."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    return {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and id(node) not in skipped and (node.module or "").startswith("eagbench")
    }


def test_the_core_imports_no_plugin() -> None:
    offenders = [p.name for p in CORE.rglob("*.py") if any("eagbench_plugins" in m for m in imports_of(p))]
    assert not offenders


def test_plugins_import_the_api_and_their_own_folder() -> None:
    offenders = []
    for path in PLUGINS.rglob("*.py"):
        folder = path.relative_to(PLUGINS).parts[0]
        for module in core_imports(path):
            own = module.startswith(f"eagbench_plugins.{folder}")
            if module not in {"eagbench.api", "eagbench.testing"} and not own:
                offenders.append(f"{path.relative_to(ROOT)}: {module}")
    assert not offenders


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys, json\n"
        f"sys.argv = ['eagbench', *{list(arguments)!r}]\n"
        "from eagbench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('MODULES' + json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout.rpartition("MODULES")[2]))


def test_help_imports_nothing_heavy() -> None:
    loaded = modules_after("--help")
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "trl", "pyhealth", "pandas", "numpy", "sklearn", "matplotlib"}


def test_plugins_list_imports_no_model_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing was looked at before
    loaded = modules_after("plugins", "list")
    assert "eagbench_plugins.experts.plugin" in loaded
    assert not loaded & {"torch", "transformers", "trl", "pyhealth", "pandas"}
