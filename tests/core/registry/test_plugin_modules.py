"""A module belongs to the plugin whose folder it is in; an error's place is named within its package."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from eagbench.registry.code_places import code_place, raised_in_plugin
from eagbench.registry.plugin_modules import plugins_of
from eagbench.registry.plugins import described_function


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two plugins in one package, one in another, beside eagbench's own."""
    dist = importlib.metadata.distribution("eagbench")
    points = [
        importlib.metadata.EntryPoint(name, module, "eagbench")._for(dist)  # type: ignore[attr-defined]
        for name, module in (("a", "wards.plugin_a"), ("b", "wards.plugin_b"), ("c", "wards.deep.plugin"))
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)


@pytest.mark.parametrize(
    ("function", "plugin"),
    [
        ("eagbench_plugins.baselines.text_tfidf:fit_words", "eagbench_baselines"),
        ("eagbench_plugins.eagrl.sft:train", "eagbench_eagrl"),
        ("eagbench_plugins.experts.plugin:anything", "eagbench_experts"),
    ],
)
def test_a_stage_function_belongs_to_the_plugin_of_its_folder(function: str, plugin: str) -> None:
    """All of these are of one distribution, whose last plugin is the trackers'."""
    assert f"(plugin {plugin})" in str(described_function(function))


def test_where_nothing_decides_every_plugin_is_named(installed: None) -> None:
    assert "(plugins a or b)" in str(described_function("wards.training:fit"))
    assert "(plugin c)" in str(described_function("wards.deep.training:fit"))
    assert [found.plugin for found in plugins_of("wards.plugin_b")] == ["b"]
    assert plugins_of("elsewhere.training") == []
    assert described_function("elsewhere.training:fit") == "the function 'elsewhere.training:fit'"
    assert described_function("eagbench.stages.expert:fit") is None


def test_a_place_is_named_within_its_package(tmp_path: Path) -> None:
    package = tmp_path / "wards" / "deep"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    assert code_place(str(package / "plugin.py"), 3) == "wards/deep/plugin.py, line 3"
    assert code_place(str(tmp_path / "alone.py"), 1) == "alone.py, line 1"


def test_the_plugins_own_line_is_named_not_that_of_a_library(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wards").mkdir()
    (tmp_path / "wards" / "__init__.py").write_text("import json\n\n\ndef fit():\n    json.loads('{')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import wards

    with pytest.raises(ValueError, match="Expecting") as raised:
        wards.fit()
    del sys.modules["wards"]
    assert raised_in_plugin(raised.value.__traceback__) == "wards/__init__.py, line 5"
    assert raised_in_plugin(None) == ""
