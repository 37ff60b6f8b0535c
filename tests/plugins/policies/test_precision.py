"""`dtype: auto` means the precision that a machine multiplies, and a stage's fingerprint says which one that is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench_plugins.policies import precision
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.smollm2.policy import SmolLM2Policy
from tests.conftest import Finished
from tests.tiny_gguf import write_tiny_gguf

AMX = "processor\t: 0\nmodel name\t: Intel\nflags\t\t: fpu avx512f amx_tile amx_bf16 amx_int8\n"
AVX512_BF16 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx512f avx512_bf16 vaes\n"
OLDER = "processor\t: 0\nmodel name\t: avx512_bf16, in its name only\nflags\t\t: fpu avx2 avx512f\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"
BENCHMARK = """
name: small
data: {{name: physionet2012, root: "{root}", window_hours: 24}}
policy: {{name: hf, path: "{model}", device: cpu{dtype}}}
record_text: {{values: compact, periods: 1, instructions: short}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
methods: [{{name: prompt, style: vanilla, max_new_tokens: 2}}]
metrics: [unparsed_rate]
"""


@pytest.mark.parametrize(
    ("facts", "has_it"), [(AMX, True), (AVX512_BF16, True), (OLDER, False), (ARM, False), ("", False)]
)
def test_a_cpu_says_whether_it_multiplies_bfloat16(facts: str, has_it: bool) -> None:
    assert precision.multiplies_bfloat16(facts) == has_it


@pytest.mark.parametrize(
    ("declared", "device", "gpu", "facts", "means"),
    [
        ("auto", "auto", True, OLDER, "bfloat16"),
        ("auto", "auto", False, AMX, "bfloat16"),
        ("auto", "auto", False, OLDER, "float32"),
        ("auto", "cpu", True, OLDER, "float32"),
        ("auto", "cuda:1", False, OLDER, "bfloat16"),
        ("auto", "mps", False, AMX, "float32"),
        ("float32", "auto", True, AMX, "float32"),
        ("float16", "cpu", False, AMX, "float16"),
    ],
)
def test_auto_means_one_precision_and_a_declared_one_stays(
    declared: precision.DType, device: str, gpu: bool, facts: str, means: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_has_gpu", lambda: gpu)
    monkeypatch.setattr(precision, "_cpu_facts", lambda: facts)
    assert precision.resolved(declared, device) == means
    assert HuggingFacePolicy.Params(path="x", device=device, dtype=declared).dtype == means
    assert SmolLM2Policy.Params(device=device, dtype=declared).dtype == means


def test_the_same_file_is_another_stage_where_auto_means_something_else(
    cli: Callable[..., Finished],
    physionet_root: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, file = write_tiny_gguf(tmp_path / "tiny.gguf"), tmp_path / "small.yaml"

    def planned(facts: str, dtype: str = "") -> list[str]:
        monkeypatch.setattr(precision, "_cpu_facts", lambda: facts)
        file.write_text(BENCHMARK.format(root=physionet_root, model=model, dtype=dtype))
        done = cli("plan", file)
        assert done.code == 0, done.err
        return done.out.splitlines()

    def policy(lines: list[str]) -> str:
        return next(line.split()[0] for line in lines if line[14:].startswith("policy "))

    with_it, without = planned(AMX), planned(OLDER)
    assert "Policy hf: it computes in bfloat16, within 8 GB." in with_it
    assert "Policy hf: it computes in float32, within 8 GB." in without
    assert policy(with_it) != policy(without)
    assert planned(OLDER, ", dtype: bfloat16") == with_it


def test_a_stage_opens_the_policy_in_the_planned_precision_whatever_its_own_machine_multiplies(
    cli: Callable[..., Finished],
    physionet_root: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, file = write_tiny_gguf(tmp_path / "tiny.gguf"), tmp_path / "small.yaml"
    file.write_text(BENCHMARK.format(root=physionet_root, model=model, dtype=""))
    monkeypatch.setattr(precision, "_cpu_facts", lambda: AMX)
    done = cli("run", file, "--limit", 150, "--out", tmp_path / "out", "--quiet")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["policy_setup"].endswith(
        "bfloat16, within 8 GB."
    )
    (note,) = store_folder.glob("policy/*/policy.json")
    monkeypatch.setattr(precision, "_cpu_facts", lambda: OLDER)
    params = HuggingFacePolicy.Params(**json.loads(note.read_text())["params"])
    opened = HuggingFacePolicy(params).open(note.parent)
    assert str(opened.model.dtype) == "torch.bfloat16"  # type: ignore[attr-defined]
