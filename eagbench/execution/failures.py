"""Say in one line why a stage failed, and who is answerable: component, package and hook."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import eagbench
from eagbench.contracts.rules import ContractError
from eagbench.contracts.stages import StageLost, StageNode
from eagbench.errors import UserError, is_stop
from eagbench.execution.store import Store
from eagbench.execution.under_way import left_under_way
from eagbench.registry.blame import ComponentError, blamed, described
from eagbench.registry.code_places import code_place
from eagbench.registry.plugins import KINDS, answerable, described_function, owner

_UNDER_WAY = ".under_way"
_CORE = Path(eagbench.__file__).parent
_FRAME = re.compile(r'File "(.+)", line (\d+) in (\S+)')
_CALLS = frozenset(name for kind in KINDS.values() for name in vars(kind.protocol)) | {"generate"}


def answerable_stage(node: StageNode) -> AbstractContextManager[None]:
    """Blame what goes wrong in a stage on its component or its function's plugin, unless another one is named."""
    if node.component is not None:
        return answerable(node.component.kind, node.component.name)
    function = described_function(node.function)
    return nullcontext() if function is None else blamed(function)


def reason_of(error: BaseException) -> str:
    """Say in one line why a stage failed."""
    user_error = plain_user_error(error)
    if user_error is not None:
        return user_error.message
    return str(error) if isinstance(error, ContractError | ComponentError) else described(error)


def plain_user_error(error: BaseException) -> UserError | None:
    """Return the same error without what a plugin's own class may add, so that another process can read it."""
    if not isinstance(error, UserError):
        return None
    try:
        hint = None if error.hint is None else str(error.hint)
        where = None if error.where is None else str(error.where)
        return UserError(str(error.what), where=where, hint=hint)
    except BaseException as other:
        if is_stop(other):
            raise
        return UserError(described(error))


def under_way_file(node: StageNode, store: Store) -> Path:
    """Return the file that says what is under way in a stage, beside its folder."""
    return store.root / node.kind / f"{node.fingerprint}{_UNDER_WAY}"


def left_under_way_files(nodes: Sequence[StageNode], store: Store) -> frozenset[str]:
    """List stages that have such a file, by fingerprint, also others of the nodes' kinds: one look for each kind."""
    found: set[str] = set()
    for kind in {node.kind for node in nodes}:
        with suppress(FileNotFoundError), os.scandir(store.root / kind) as entries:
            found.update(name.removesuffix(_UNDER_WAY) for e in entries if (name := e.name).endswith(_UNDER_WAY))
    return frozenset(found)


def reason_of_loss(node: StageNode, lost: StageLost, store: Store) -> str:
    """Say what a stage was doing when its process died or was ended, and forget it."""
    file = under_way_file(node, store)
    by = left_under_way(file) or _owner(node)
    file.unlink(missing_ok=True)
    call, place = _call_of(lost.details)
    return str(ComponentError(by, call, f"{lost.reason}{place}"))


def _call_of(trace: str) -> tuple[str, str]:
    """Find the component's call and its place in what `faulthandler` wrote, the innermost frame first."""
    found = ("", "")
    for file, line, name in _FRAME.findall(trace.partition("Current thread")[2]):
        if Path(file).is_relative_to(_CORE):
            break
        if name in _CALLS:
            found = (name, f" ({code_place(file, int(line))})")
    return found


def earlier_death(node: StageNode, store: Store) -> str | None:
    """Say that an earlier run ended without a farewell during this stage, unless another run is at it now."""
    file = under_way_file(node, store)
    by = left_under_way(file)
    if by is None or store.is_locked(node):
        return None
    file.unlink(missing_ok=True)
    return (
        f"note: the run before ended during {node.kind} '{node.label}' (under way was {by or _owner(node)}); if that "
        "ended it, `--workers 2` or `--stage-timeout` lets this stage fail alone"
    )


def _owner(node: StageNode) -> str:
    if node.component is not None:
        return owner(node.component.kind, node.component.name)
    return described_function(node.function) or f"eagbench's own stage '{node.kind}'"
