"""A benchmark's own prompts: files and keys become words, and a mistake is found in the file where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eagbench.config.loading import load_benchmark, validate_params
from eagbench.config.prompt_files import read_wording
from eagbench.errors import UserError
from eagbench.registry.plugins import load_registry

PROMPT = "format: vanilla\ninstruction: |\n  Only this:\n  <answer>0.00</answer>\n"
WORDS = {"format": "vanilla", "instruction": "Only this:\n<answer>0.00</answer>\n"}
BENCHMARK = "name: b\ndata: tjh\nmetrics: [auroc]\n"


def methods(folder: Path, text: str, **more: Any) -> tuple[Any, Any]:
    (folder / "b.yaml").write_text(BENCHMARK + text)
    loaded = load_benchmark(folder / "b.yaml", **more)
    return loaded, loaded.benchmark.methods


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a prompt file below it; the working folder is another."""
    (tmp_path / "bench" / "prompts").mkdir(parents=True)
    (tmp_path / "bench" / "prompts" / "terse.yaml").write_text(PROMPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "bench"


def test_a_file_becomes_its_words_relative_to_the_benchmark(folder: Path) -> None:
    loaded, [method] = methods(folder, "methods: [{name: prompt, style: prompts/terse.yaml}]\n")
    assert method.params["style"] == {"name": "terse", **WORDS}
    assert loaded.resolved()["methods"][0]["style"]["instruction"] == WORDS["instruction"]


@pytest.mark.parametrize(
    "prompts",
    [
        "prompts: [prompts/terse.yaml]\n",
        "prompts: {terse: prompts/terse.yaml}\n",
        'prompts: {terse: {format: vanilla, instruction: "Only this:\\n<answer>0.00</answer>\\n"}}\n',
    ],
)
def test_a_prompt_of_the_benchmark_is_named(folder: Path, prompts: str) -> None:
    loaded, [method] = methods(folder, prompts + "methods: [{name: prompt, style: terse}]\n")
    assert method.params["style"] == {"name": "terse", **WORDS}
    assert list(loaded.benchmark.prompts) == ["terse"]


def test_other_words_of_a_condition_are_files_too(folder: Path) -> None:
    words = "{name: prompt_wording, severity: 1, wordings: {vanilla: [prompts/terse.yaml]}}"
    loaded, _ = methods(folder, f"methods: [lightgbm]\nconditions: [clean, {words}]\n")
    assert loaded.benchmark.conditions[1].params["wordings"] == {"vanilla": [{"name": "terse", **WORDS}]}


def test_set_names_a_file_relative_to_the_working_folder(folder: Path) -> None:
    text = "methods: [{name: prompt, style: vanilla}]\n"
    _, [method] = methods(folder, text, sets=["methods.prompt.style=bench/prompts/terse.yaml"])
    assert method.params["style"]["name"] == "terse"
    with pytest.raises(UserError, match=r"no prompt file 'terse\.yaml'") as error:
        methods(folder, text, sets=["methods.prompt.style=terse.yaml"])
    assert "--set methods.prompt.style" in error.value.message


def test_a_missing_file_is_said_where_it_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"there is no prompt file 'gone\.yaml'") as error:
        methods(folder, "methods:\n  - name: prompt\n    style: gone.yaml\n")
    assert error.value.where is not None
    assert error.value.where.endswith("b.yaml:6")


def test_a_mistake_is_found_in_the_file_where_it_stands(folder: Path) -> None:
    wrong = folder / "prompts" / "wrong.yaml"
    wrong.write_text(PROMPT + "question: Will they {outcom}?\n")
    loaded, [method] = methods(folder, "methods: [{name: prompt, style: prompts/wrong.yaml}]\n")
    model: Any = load_registry().get("method", "prompt").component
    for read in (
        lambda: validate_params(model.Params, method.params, loaded.source, ("methods", 0)),
        lambda: methods(folder, "prompts: [prompts/wrong.yaml]\nmethods: [lightgbm]\n"),
        lambda: read_wording(wrong),
    ):
        with pytest.raises(UserError, match=r"\{outcom\}.*did you mean \{outcome\}\?") as error:
            read()
        assert error.value.where == f"{wrong}:5"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: x\n" + PROMPT, "a prompt file has no key 'name'"),
        ("instruction: x\n", r"wrong\.yaml:1: the key '.*format' is missing"),
        (PROMPT + "qestion: x\n", "did you mean 'question'"),
        ("- a\n", "mapping of keys to values"),
    ],
)
def test_what_is_no_prompt_file_is_refused(folder: Path, text: str, complaint: str) -> None:
    (folder / "wrong.yaml").write_text(text)
    with pytest.raises(UserError, match=complaint):
        methods(folder, "prompts: [wrong.yaml]\nmethods: [lightgbm]\n")
