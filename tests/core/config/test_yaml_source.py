"""Values keep their place; extends, variables and --set do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from eagbench.config.yaml_source import Source, apply_set, read_yaml
from eagbench.errors import UserError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_value_knows_its_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "b.yaml", "name: b\nmethods:\n  - one\n  - name: two\n    depth: 3\n")
    source = read_yaml(path)
    assert source.tree == {"name": "b", "methods": ["one", {"name": "two", "depth": 3}]}
    assert source.place(("methods", 1, "depth")) == f"{path}:5"
    assert source.place(("methods", 1, "no_such_key")) == f"{path}:4"


def test_extends_lays_the_later_on_the_earlier(tmp_path: Path) -> None:
    write(tmp_path, "parts/a.yaml", "policy: {name: tiny, steps: 5}\nseeds: [0, 1]\n")
    path = write(tmp_path, "b.yaml", "extends: [parts/a.yaml]\npolicy: {steps: 7}\nseeds: [3]\n")
    source = read_yaml(path)
    assert source.tree == {"policy": {"name": "tiny", "steps": 7}, "seeds": [3]}
    assert source.place(("policy", "name")).endswith("a.yaml:1")
    assert source.place(("policy", "steps")).endswith("b.yaml:2")


def test_an_exchanged_component_does_not_inherit_parameters(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "policy: {name: tiny, steps: 5}\n")
    path = write(tmp_path, "b.yaml", "extends: a.yaml\npolicy: {name: hf, path: here}\n")
    assert read_yaml(path).tree["policy"] == {"name": "hf", "path": "here"}


def test_extending_oneself_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: b.yaml\n")
    path = write(tmp_path, "b.yaml", "extends: a.yaml\n")
    with pytest.raises(UserError, match="extends itself"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("root: '${EAGBENCH_TEST_ROOT:-synthetic}'", None, "synthetic"),
        ("root: '${EAGBENCH_TEST_ROOT:-synthetic}'", "/data", "/data"),
        ("root: '${EAGBENCH_TEST_ROOT:-synthetic}'", "", "synthetic"),
        ("root: ${EAGBENCH_TEST_ROOT:-12}", None, 12),
        ("root: '${EAGBENCH_TEST_ROOT:-12}'", None, "12"),
        ("root: 'a/${EAGBENCH_TEST_ROOT}/b'", "x", "a/x/b"),
    ],
)
def test_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, environment: str | None, expected: object
) -> None:
    monkeypatch.delenv("EAGBENCH_TEST_ROOT", raising=False)
    if environment is not None:
        monkeypatch.setenv("EAGBENCH_TEST_ROOT", environment)
    assert read_yaml(write(tmp_path, "b.yaml", text)).tree == {"root": expected}


def test_a_variable_without_value_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EAGBENCH_TEST_ROOT", raising=False)
    with pytest.raises(UserError, match=r"b\.yaml:2: .*EAGBENCH_TEST_ROOT is not set"):
        read_yaml(write(tmp_path, "b.yaml", "name: b\nroot: ${EAGBENCH_TEST_ROOT}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "a benchmark is a mapping"),
        ("just words\n", "a benchmark is a mapping"),
        ("", "a benchmark is a mapping"),
        ("a: [1, 2\n", "this is not YAML"),
        ("a: 1\nb: 2\na: 3\n", r"b\.yaml:3: the key 'a' appears here twice"),
    ],
)
def test_what_is_no_benchmark_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_yaml(write(tmp_path, "b.yaml", text))


def source_with_methods() -> Source:
    return Source(
        tree={"data": {"name": "tjh"}, "methods": ["lightgbm", {"name": "eag_rl", "as": "main", "search": {}}]}
    )


def test_set_says_how_to_write_a_text_that_begins_with_a_sign_of_yaml() -> None:
    source = source_with_methods()
    with pytest.raises(UserError) as found:
        apply_set(source, "data.time_format=%d.%m.%Y")
    assert "'KEY=\"TEXT\"'" in str(found.value.hint)
    apply_set(source, 'data.time_format="%d.%m.%Y"')
    assert source.tree["data"]["time_format"] == "%d.%m.%Y"


def test_set_reaches_values_by_label_and_by_number() -> None:
    source = source_with_methods()
    apply_set(source, "data.root=/x")
    apply_set(source, "methods.main.search.simulations=8")
    apply_set(source, "methods.lightgbm.num_leaves=7")
    apply_set(source, "methods.0.learning_rate=0.1")
    assert source.tree["data"] == {"name": "tjh", "root": "/x"}
    assert source.tree["methods"][0] == {"name": "lightgbm", "num_leaves": 7, "learning_rate": 0.1}
    assert source.tree["methods"][1]["search"] == {"simulations": 8}
    assert source.place(("methods", 0, "num_leaves")) == "--set methods.lightgbm.num_leaves=7"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.root", "takes path.to.key=value"),
        ("methods.lightgmb.x=1", "did you mean 'lightgbm'"),
        ("methods.9.x=1", "no item here is called '9'"),
        ("data.name.deeper.still=1", "name"),
    ],
)
def test_set_says_what_it_can_not_do(assignment: str, message: str) -> None:
    source = source_with_methods()
    if "deeper" in assignment:
        source.tree["data"] = {"name": 3}
    with pytest.raises(UserError, match=message):
        apply_set(source, assignment)


def test_a_merge_key_brings_what_the_mapping_does_not_say(tmp_path: Path) -> None:
    text = (
        "methods:\n  - &first {name: a, sft: {steps: 2, rate: 1}}\n  - &second\n    {name: b, extra: 1}\n"
        "  - {<<: *first, as: c, sft: {steps: 3}}\n  - {<<: [*first, *second], as: d}\n"
    )
    path = write(tmp_path, "b.yaml", text)
    source = read_yaml(path)
    assert source.tree["methods"][2:] == [
        {"as": "c", "sft": {"steps": 3}, "name": "a"},
        {"as": "d", "name": "a", "sft": {"steps": 2, "rate": 1}, "extra": 1},
    ]
    assert source.place(("methods", 2, "name")) == f"{path}:2"
    assert source.place(("methods", 2, "sft", "steps")) == f"{path}:5"
    assert source.place(("methods", 3, "extra")) == f"{path}:4"


def test_a_merge_key_takes_an_anchored_mapping_only(tmp_path: Path) -> None:
    path = write(tmp_path, "b.yaml", "a: &x 3\nb: {<<: *x}\n")
    with pytest.raises(UserError, match="anchored mapping") as error:
        read_yaml(path)
    assert str(path) in str(error.value)
