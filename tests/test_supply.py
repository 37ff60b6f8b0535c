"""Licences, audit and release: each command refuses what it should, in a sentence, and needs no network to do so."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@b.c",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@b.c",
}


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(f"script_{name}", str(ROOT / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module  # where dataclasses look their module up
    loader.exec_module(module)
    return module


def call(*command: object, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
    arguments = [str(part) for part in command]
    env = {**kept, **IDENTITY, **environment}
    return subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, timeout=1800)


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception", True),
        ("MIT License; BSD License", True),
        ("MIT License; GNU Affero General Public License v3", False),
        ("UNKNOWN", False),
        ("", False),
        ("Permission is hereby granted (as long as", False),
    ],
)
def test_a_licence_is_allowed_by_what_it_asks(licence: str, is_allowed: bool) -> None:
    allowed = frozenset(
        {"MIT", "Apache-2.0", "MPL-2.0", "Apache-2.0 WITH LLVM-exception", "MIT License", "BSD License"}
    )
    assert script("licences").is_allowed(licence, allowed) is is_allowed


def test_every_installed_licence_is_known(tmp_path: Path) -> None:
    done = call(sys.executable, "scripts/licences", "--out", tmp_path / "licences.csv")
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "licences.csv").read_text()
    assert "\nnumpy," in listed
    assert "UNKNOWN" not in listed


def test_an_unknown_licence_is_named_with_its_distribution(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    rules = tmp_path / "scripts" / "licences.toml"
    rules.write_text(rules.read_text().replace('skops = "MIT"', 'skops = "GPL-3.0-only"'))
    done = call(sys.executable, "scripts/licences", folder=tmp_path)
    assert done.returncode == 1
    assert "the licence 'GPL-3.0-only' is not in licences.toml" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def found(*entries: dict[str, object]) -> str:
    return f"print({json.dumps(json.dumps({'dependencies': entries}))})"


KNOWN = {"name": "known", "version": "1", "vulns": []}
VULNERABLE = {"name": "weak", "version": "1", "vulns": [{"id": "CVE-1"}]}
SKIPPED = {"name": "other", "skip_reason": "Dependency not found on PyPI and could not be audited: other (1)"}


@pytest.mark.parametrize(
    ("pip_audit", "code", "said"),
    [
        (found(KNOWN), 0, "1 of 1 versions audited, 0 vulnerable"),
        (found(KNOWN, VULNERABLE, SKIPPED), 1, "weak 1: CVE-1"),
        (found(KNOWN, SKIPPED), 3, "the advisory database does not know other"),
        (found(SKIPPED), 3, "the advisory database could not be reached (it knows none of the versions)"),
        ("raise SystemExit('no route to host')", 3, "the advisory database could not be reached (no route to host)"),
        ("", 3, "the advisory database could not be reached (it printed nothing)"),
    ],
)
def test_an_audit_never_takes_silence_for_safety(tmp_path: Path, pip_audit: str, code: int, said: str) -> None:
    (tmp_path / "pip_audit.py").write_text(pip_audit)
    done = call(sys.executable, "scripts/audit", PYTHONPATH=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that a release could be made of, up to its checks."""
    root = tmp_path / "repository"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "release", root / "scripts")
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"], ["tag", "v0.2.0"]):
        assert call("git", *command, folder=root).returncode == 0
    return root


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("new", "'new' is no version such as 0.2.0"),
        ("1.0-rc1", "'1.0-rc1' is written 1.0rc1"),
        ("0.2.0", "the tag v0.2.0 is there already"),
        ("0.1.0", "CHANGELOG.md has a section of 0.1.0 already"),
    ],
)
def test_a_release_that_can_not_be_is_refused(repository: Path, version: str, said: str) -> None:
    done = call(sys.executable, "scripts/release", version, folder=repository)
    assert (done.returncode, done.stderr) == (2, f"no release: {said}\n")


def test_a_release_needs_a_clean_tree_and_something_new(repository: Path) -> None:
    (repository / "notes").touch()
    done = call(sys.executable, "scripts/release", "0.3.0", folder=repository)
    assert (done.returncode, done.stderr) == (2, "no release: the working tree has changes; commit or remove them\n")
    (repository / "notes").unlink()
    (repository / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0 (2026-01-01)\n\n- First.\n")
    assert call("git", "commit", "-qam", "Nothing new", folder=repository).returncode == 0
    done = call(sys.executable, "scripts/release", "0.3.0", folder=repository)
    assert (done.returncode, done.stderr) == (
        2,
        "no release: the section '## Unreleased' of CHANGELOG.md is empty\n",
    )


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_a_release_is_built_tried_out_listed_and_tagged(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    assert call("git", "clone", "--quiet", "--local", "--no-tags", ROOT, root).returncode == 0
    done = call(sys.executable, "scripts/release", "9.9.9", "--borrow-libraries", folder=root)
    assert done.returncode == 0, done.stderr
    dist = root / "dist" / "9.9.9"
    names = {"eagbench-9.9.9.tar.gz", "eagbench-9.9.9-py3-none-any.whl", "eagbench-9.9.9.cdx.json"}
    names |= {"eagbench-9.9.9-licences.csv", "SHA256SUMS"}
    assert {path.name for path in dist.iterdir()} == names
    for line in (dist / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest
    bill = json.loads((dist / "eagbench-9.9.9.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == ("eagbench", "9.9.9")
    assert {"numpy", "torch", "pyhealth"} <= {component["name"].lower() for component in bill["components"]}
    assert "file:" not in json.dumps(bill)
    assert call("git", "tag", folder=root).stdout.split() == ["v9.9.9"]
    assert call("git", "log", "-1", "--format=%s", "v9.9.9", folder=root).stdout.strip() == "Version 9.9.9"
    assert call("git", "status", "--porcelain", folder=root).stdout == ""
    changelog = (root / "CHANGELOG.md").read_text()
    assert "## Unreleased\n\n## 9.9.9 (2" in changelog
