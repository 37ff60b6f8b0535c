"""The misbehaving plugins that `plugin_variants` runs, and how each run has to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Variant:
    """A bad component, and how its run has to end.

    Attributes:
        group: The kind of misbehaviour, a row of the table.
        hook: The hook that registers it.
        says: What the message has to hold beside package, component and hook: the call, the argument, the reason.
        added: The keys of the benchmark that name it.
        options: Options of the command.
        code: The exit code: 1 where its cells fail, 0 where it only changes what others must not meet, 2 where it is
            found before anything runs or all cells need it.
        environment: Further variables.
    """

    group: str
    hook: str
    says: tuple[str, ...]
    added: dict[str, str]
    options: tuple[str, ...] = ()
    code: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """All that tells it from others."""
        return " ".join([*self.added.values(), *self.options, *self.environment.values()])


def _bad(kind: str, fault: str, at: str) -> dict[str, str]:
    spec = f"{{name: bad_{kind}, fault: {fault or 'nothing'}, at: {at}}}"
    severity = ", severity: [0.2]}" if kind == "perturbation" else "}"
    keys = {"expert": "methods", "method": "methods", "metric": "metrics", "perturbation": "conditions"}
    return {keys[kind]: f"{spec[:-1]}{severity}, "}


_HOOKS = {
    "expert": "register_experts",
    "method": "register_methods",
    "metric": "register_metrics",
    "perturbation": "register_perturbations",
}
_CALLS = {"expert": "fit", "method": "predict", "metric": "__call__", "perturbation": "apply"}


def variants() -> Iterator[Variant]:
    """All variants, the most different ones first."""
    columns = [_raising(), _dying(), _endless(), _wrong(), _files(), _state(), _planned(), _elsewhere()]
    lists = [list(column) for column in columns]
    for i in range(max(map(len, lists))):
        yield from (column[i] for column in lists if i < len(column))


def _raising() -> Iterator[Variant]:
    cases = [
        ("metric", "exits", "SystemExit"),
        ("expert", "unpicklable", "cannot be sent"),
        ("perturbation", "interrupts", "KeyboardInterrupt"),
        ("method", "raises_base", "no exception"),
        ("metric", "recursion", "RecursionError"),
        ("expert", "exits", "SystemExit"),
        ("metric", "memory", "MemoryError"),
        ("expert", "raises", "ZeroDivisionError: division by zero"),
        ("perturbation", "exits", "SystemExit"),
        ("metric", "unprintable", "its text can't be made"),
        ("method", "generator_exit", "GeneratorExit"),
        ("expert", "allocates", "Unable to allocate"),
        ("metric", "raises_base", "no exception"),
        ("perturbation", "swallows", "swallowed"),
    ]
    for i, (kind, fault, reason) in enumerate(cases):
        call = _CALLS[kind]
        workers = ("--workers", "2") if i % 3 == 1 else ()
        yield Variant("raises", _HOOKS[kind], (call, reason), _bad(kind, fault, call), workers)
    for call in ("predict", "load"):
        yield Variant("raises", _HOOKS["expert"], (call, "SystemExit"), _bad("expert", "exits", call))


def _dying() -> Iterator[Variant]:
    workers = ("--workers", "2")
    for kind, fault, reason in (
        ("expert", "killed_with_child", "signal 9 (SIGKILL, often the machine's memory)"),
        ("method", "os_exit", "ended itself with exit code 0"),
        ("expert", "segfault", "signal 11 (SIGSEGV)"),
        ("perturbation", "killed", "signal 9"),
        ("method", "aborts", "signal 6"),
        ("expert", "os_exit", "ended itself with exit code 0"),
    ):
        yield Variant("dies with its process", _HOOKS[kind], (reason,), _bad(kind, fault, _CALLS[kind]), workers)


def _endless() -> Iterator[Variant]:
    for kind, fault, workers in (
        ("expert", "sleeps", "1"),
        ("method", "forever", "2"),
        ("expert", "forever", "1"),
        ("perturbation", "sleeps", "2"),
    ):
        options = ("--stage-timeout", "30", "--workers", workers)
        says = (_CALLS[kind], "longer than --stage-timeout 30 s")
        yield Variant("never ends", _HOOKS[kind], says, _bad(kind, fault, _CALLS[kind]), options)


def _wrong() -> Iterator[Variant]:
    for kind, fault, call, says in (
        ("metric", "infinite", "__call__", "infinite"),
        ("expert", "nan", "predict", "result"),
        ("method", "none", "predict", "in predict, result: a sequence of Prediction"),
        ("metric", "none", "__call__", "in __call__, weights"),
        ("perturbation", "none", "apply", "result"),
        ("metric", "some_resamples", "__call__", "not on this resample"),
        ("method", "short", "predict", "cases"),
        ("expert", "objects", "predict", "in predict, result: numbers"),
        ("metric", "text", "__call__", "weights"),
        ("expert", "short", "predict", "result"),
        ("expert", "costs", "fit", "add_cost"),
        ("metric", "short", "__call__", "weights"),
        ("expert", "infinite", "predict", "result"),
    ):
        yield Variant("returns something wrong", _HOOKS[kind], (says,), _bad(kind, fault, call))


def _files() -> Iterator[Variant]:
    for fault, says in (
        ("pickle", "model.pkl"),
        ("npy", "rate.npy"),
        ("deletes_inputs", "changed or removed"),
        ("link", "no links"),
        ("removes_folder", "is gone"),
        ("rewrites_inputs", "changed or removed rate.json"),
        ("manifest", "manifest.json"),
        ("pipe", "no links"),
    ):
        yield Variant("leaves wrong files", _HOOKS["expert"], (says,), _bad("expert", fault, "save"))


def _state() -> Iterator[Variant]:
    for kind, fault, code in (
        ("metric", "warnings_as_errors", 0),
        ("expert", "closes", 0),
        ("expert", "leaves_process", 0),
        ("metric", "replaces_numpy", 1),
        ("expert", "changes_folder", 0),
        ("method", "leaves_thread", 0),
        ("perturbation", "numpy_raises", 0),
        ("expert", "handlers", 0),
        ("metric", "seeds", 0),
        ("metric", "closes", 0),
        ("expert", "forks", 0),
        ("perturbation", "changes_folder", 0),
        ("expert", "prints", 0),
        ("expert", "changes_environment", 0),
        ("method", "changes_path", 0),
        ("metric", "numpy_raises", 0),
        ("expert", "replaces_numpy", 1),
        ("metric", "handlers", 0),
    ):
        says = ("numpy.mean",) if code else ()
        group = "changes its process"
        yield Variant(group, _HOOKS[kind], says, _bad(kind, fault, _CALLS[kind]), code=code)
    added = _bad("expert", "leaves_thread", "fit")
    yield Variant("changes its process", _HOOKS["expert"], (), added, ("--workers", "2"), code=0)


def _planned() -> Iterator[Variant]:
    group = "fails before anything runs"
    yield Variant(group, _HOOKS["metric"], ("__init__", "SystemExit"), _bad("metric", "exits", "__init__"), code=2)
    yield Variant(group, _HOOKS["method"], ("stages", "KeyboardInt"), _bad("method", "interrupts", "stages"), code=2)
    yield Variant(group, _HOOKS["expert"], ("in the parameters",), _bad("expert", "invalid", "fit"), code=2)
    yield Variant(
        group,
        _HOOKS["perturbation"],
        ("check_severity", "Zero"),
        _bad("perturbation", "raises", "check_severity"),
        code=2,
    )
    yield Variant(group, "", ("at import",), _bad("expert", "", "fit"), code=2, environment={"MISBEHAVE": "import"})
    yield Variant(group, "", ("at regis",), _bad("expert", "", "fit"), code=2, environment={"MISBEHAVE": "register"})


def _elsewhere() -> Iterator[Variant]:
    distilled = (
        "{{name: trajectory_distillation, search: {search}, reward: {reward}, expert: lightgbm, token_budget: 64, "
        "max_new_tokens: 32, max_training_cases: 8, sft: {{steps: 1}}}}, "
    )
    group = "in a policy, a search, a reward, a tracker, an executor or a data set"

    def tracker(fault: str, at: str, code: int) -> Variant:
        added = {"trackers": f"{{name: bad_tracker, fault: {fault}, at: {at}}}"}
        return Variant(group, "register_trackers", (at,), added, code=code)

    yield tracker("exits", "log", 70)
    reward = "{name: bad_reward, fault: exits, at: __call__}"
    added = {"methods": distilled.format(search="best_of_n", reward=reward)}
    yield Variant(group, "register_rewards", ("__call__", "SystemExit"), added)
    added = {"methods": distilled.format(search="{name: bad_search, fault: none}", reward="brier")}
    yield Variant(group, "register_searches", ("run",), added)
    for at in ("prepare", "generate"):
        added = {
            "methods": "{name: prompt, max_new_tokens: 8}, ",
            "policy": f"{{name: bad_policy, fault: exits, at: {at}}}",
        }
        yield Variant(group, "register_policies", (at, "SystemExit"), added)
    yield tracker("raises", "start", 2)
    yield tracker("raises_base", "finish", 70)
    options = ("--executor", "bad_executor", "--executor-option", "fault=exits", "--executor-option", "at=execute")
    yield Variant(group, "register_executors", ("execute", "SystemExit"), {}, options, code=70)
    added = {"data": "{name: bad_dataset, fault: exits, at: load}"}
    yield Variant(group, "register_datasets", ("load", "SystemExit"), added, code=70)
