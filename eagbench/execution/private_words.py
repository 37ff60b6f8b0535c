"""Words that may repeat records: with credentialed data they go to a file of their own, not to log or terminal.

The text of an exception may hold a value, a case's or a patient's id. So what is printed and logged says the type, the
component and the lines of code, and of a deliberate message (`UserError`, `ContractError`) those words that stand in
the code or in the benchmark. The whole text is in `private/errors.jsonl` of the run folder, which `export` leaves out.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from eagbench.config.secrets import masked_text
from eagbench.contracts.components import StrictParams
from eagbench.contracts.executors import ComputeStage, Executor
from eagbench.contracts.stages import StageNode
from eagbench.contracts.traits import ExecutorTraits, traits_of
from eagbench.errors import UserError
from eagbench.execution.computing import Outcome
from eagbench.execution.executors.local import Local
from eagbench.execution.private_files import keep_private
from eagbench.execution.runner import SharedStageError
from eagbench.planning.plan import Plan
from eagbench.registry.plugin_modules import GROUP
from eagbench.registry.plugins import load_registry

FOLDER = "private"
FILE = f"{FOLDER}/errors.jsonl"
LEFT_OUT = "[...]"

_TOKEN = re.compile(r"\w(?:[\w.+-]*\w)?")
_LINE_OF_A_FILE = re.compile(r"\.[A-Za-z]\w*:$")
_GAP = re.compile(r"\[\.\.\.\](?:[\s'\",;:/|()=+-]*\[\.\.\.\])+")
_FRAME = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<name>[\w<>.]+)$', re.MULTILINE)
# As `registry.blame` names the component that raised an error, and Python what an error was raised because of.
_BLAMED = re.compile(r"(?P<by>the \w+ '[^'\n]*' of .+? failed in \w+|a stage of .+? failed): ")
_BECAUSE_OF = "\nThe above exception was the direct cause of the following exception:\n"
_TYPE = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?=:|$)", re.MULTILINE)
_KNOWN_FRAMES = 12


class HiddenError(Exception):
    """A bug whose own words are kept apart: its type, its lines of code, and where the words are."""


@dataclass(frozen=True, slots=True)
class PrivateWords:
    """Where the words of errors of a run with credentialed data go.

    Attributes:
        folder: The run folder, or a sweep's.
        benchmark: The benchmark as the user wrote it; its words are no patient's.
    """

    folder: Path
    benchmark: Any

    @classmethod
    def of(cls, plan: Plan, folder: Path) -> PrivateWords | None:
        """Return where the words of a plan's errors go; None if its data are open or synthetic."""
        return cls(folder, plan.loaded.resolved()) if plan.access == "credentialed" else None

    @property
    def place(self) -> Path:
        """The file that holds them."""
        return self.folder / FILE

    def outcome(self, node: StageNode, outcome: Outcome) -> Outcome:
        """Return an outcome that may be logged and printed; keep the words of a failure."""
        if outcome.status != "failed":
            return outcome
        error = outcome.error
        if error is not None:
            public = self._user_error(error)
            reason = public.message
        elif outcome.details is None or "ContractError" in _last_type(outcome.details):
            public, reason = None, self._shown(outcome.reason or "")
        else:
            raised = _raised(outcome.details)
            by, _ = self._blamed(outcome.reason or "")
            public, reason = None, f"{by}{_last_type(raised)} {_place_of(raised)}{self._pointer}"
        if outcome.details is not None or reason != outcome.reason:
            self._keep(f"{node.kind} {node.label}", node.seed, f"{outcome.reason}\n{outcome.details or ''}")
        details = None if outcome.details is None else _frames(outcome.details)
        return replace(outcome, reason=reason, details=details, error=public)

    def failed(self, failure: dict[str, Any]) -> dict[str, Any]:
        """Return a metric's failure, as the manifest lists it, without the words of the metric's plugin."""
        reason = str(failure["reason"])
        if failure["metric"] is None:  # the outcome of a stage, which was seen to
            return failure
        by, rest = self._blamed(reason)
        found = re.match(r"([A-Za-z_]\w*(?:\.\w+)*): ", rest)
        public = f"{by}{found[1]}{self._pointer}" if found else self._shown(reason)
        if public != reason:
            self._keep(f"metric {failure['metric']}", failure["seed"], reason)
        return {**failure, "reason": public}

    def _blamed(self, reason: str) -> tuple[str, str]:
        """Split a reason into who is answerable, as it may be shown, and the rest; nobody is named in some."""
        found = _BLAMED.match(reason)
        return ("", reason) if found is None else (f"{self._without(found['by'])}: ", reason[found.end() :])

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep the words of errors and warnings in the block apart.

        Raises:
            UserError: What the block raised, without words that may come from a record.
            HiddenError: The same, for any other exception.
        """
        try:
            with warnings.catch_warnings(), self._threads_apart():
                warnings.showwarning = self._warn
                yield
        except (SharedStageError, HiddenError):
            raise
        except UserError as error:
            public = self._user_error(error)
            if public.message != error.message:
                self._keep("input", None, "".join(traceback.format_exception(error)))
            raise public from None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again without its words
            text = "".join(traceback.format_exception(error))
            self._keep("bug", None, text)
            raise HiddenError(f"{_last_type(text)} {_place_of(text)}{self._pointer}\n{_frames(text)}") from None

    @property
    def _pointer(self) -> str:
        return f"; its words may repeat records and are in {self.place}"

    def _user_error(self, error: UserError) -> UserError:
        given = (error.what, error.where, error.hint)
        what, where, hint = (None if text is None else self._without(text) for text in given)
        if (what, where, hint) == given:
            return error
        seen = f"what stands at {LEFT_OUT} may come from a record and is in {self.place}"
        hint = hint if hint and seen in hint else "; ".join(filter(None, (hint, seen)))
        return UserError(what or "", where=where, hint=hint)

    def _shown(self, text: str) -> str:
        public = self._without(text)
        return public if public == text or str(self.place) in public else f"{public}{self._pointer}"

    def _without(self, text: str) -> str:
        """Return a text without the words that stand neither in the code nor in the benchmark, and without numbers."""
        allowed = _own_words(self.benchmark) | {str(part) for part in (*self.folder.parts, *Path.cwd().parts)}

        def shown(match: re.Match[str]) -> str:
            token = match[0]
            if token in allowed or (token.isdigit() and _LINE_OF_A_FILE.search(text[: match.start()])):
                return token
            return token if _is_of_code(token) else LEFT_OUT

        return _GAP.sub(LEFT_OUT, _TOKEN.sub(shown, text))

    def _keep(self, what: str, seed: int | None, text: str) -> None:
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "what": what, "seed": seed, "text": text}
        line = masked_text(json.dumps(entry)) + "\n"
        self.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In one write at the end of the file: several processes of a sweep may do so at once.
        place = os.open(self.place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(place, line.encode())
        finally:
            os.close(place)

    @contextlib.contextmanager
    def _threads_apart(self) -> Iterator[None]:
        """Keep the words of exceptions apart that end a thread, which Python would print."""

        def told(ended: threading.ExceptHookArgs) -> None:
            text = "".join(traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback))
            self._keep("thread", None, text)
            print(f"{_last_type(text)} {_place_of(text)} in a thread{self._pointer}", file=sys.stderr)

        before, threading.excepthook = threading.excepthook, told
        try:
            yield
        finally:
            threading.excepthook = before

    def _warn(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
    ) -> None:
        self._keep(f"{category.__name__} at {filename}:{lineno}", None, str(message))
        print(f"{category.__name__} at {Path(filename).name}:{lineno}{self._pointer}", file=sys.stderr)


class Discreet:
    """An executor around another one: nothing of a record leaves its stages, as a file of others or in words.

    Args:
        executor: Computes the stages.
        words: Keeps the words of their errors apart.
    """

    name: ClassVar[str] = "discreet"
    Params: ClassVar[type[BaseModel]] = StrictParams

    def __init__(self, executor: Executor | Local, words: PrivateWords) -> None:
        self._executor, self._words = executor, words

    @property
    def traits(self) -> ExecutorTraits:
        """Those of the executor within."""
        return traits_of(self._executor, ExecutorTraits)

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: ComputeStage,
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Compute every stage after those it needs (`eagbench.contracts.executors.Executor`)."""

        def told(node: StageNode, outcome: object) -> bool:
            return done(node, self._words.outcome(node, outcome) if isinstance(outcome, Outcome) else outcome)

        self._executor.execute(nodes, _Privately(compute, self._words), told)


@dataclass(frozen=True, slots=True)
class _Privately:
    """Computes stages in whatever process, and keeps files and words to their owner."""

    compute: ComputeStage
    words: PrivateWords

    @property
    def folder(self) -> Path:
        """The store."""
        return self.compute.folder

    def __call__(self, node: StageNode) -> object:
        """Compute a stage."""
        keep_private()
        with self.words.guarded():
            return self.compute(node)


def _raised(details: str) -> str:
    """Return the traceback of what a component raised, without that of the error that names the component."""
    raised, _, _ = details.rpartition(_BECAUSE_OF)
    return raised if raised and _last_type(details) == "ComponentError" else details


def _last_type(details: str) -> str:
    """Name the type of the exception that a traceback ends with; the first line that could be its head is."""
    frames = list(_FRAME.finditer(details))
    found = _TYPE.search(details, frames[-1].end() if frames else 0)
    return found["type"].rpartition(".")[2] if found else "an exception"


def _place_of(details: str) -> str:
    """Say in which line of code an exception was raised."""
    frames = [frame for frame in _FRAME.finditer(details) if Path(frame["file"]).is_file()]
    return f"at {Path(frames[-1]['file']).name}:{frames[-1]['line']}, in {frames[-1]['name']}" if frames else ""


def _frames(details: str) -> str:
    """Return the lines of code of a traceback, without any words of an exception."""
    frames = [frame for frame in _FRAME.finditer(details) if Path(frame["file"]).is_file()]
    return "\n".join(f"{frame['file']}:{frame['line']}, in {frame['name']}" for frame in frames[-_KNOWN_FRAMES:])


def _is_of_code(token: str) -> bool:
    """Say whether a word stands in the code of eagbench or of a plugin, or names a component; a number never does."""
    if token in _names():
        return True
    parts = [part for part in re.split(r"[^A-Za-z]+", token) if part]
    return not re.search(r"\d", token) and all(part.lower() in _code_words() for part in parts)


@functools.cache
def _names() -> frozenset[str]:
    registry = load_registry()
    return frozenset({name for item in registry for name in (item.name, item.plugin, item.distribution)})


@functools.cache
def _code_words() -> frozenset[str]:
    """Collect the words of the source of eagbench and of all plugins, and of the system's own errors."""
    packages = {"eagbench", *(entry.value.partition(".")[0] for entry in importlib.metadata.entry_points(group=GROUP))}
    specs = [importlib.util.find_spec(name) for name in sorted(packages)]
    folders = [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]
    texts = [os.strerror(code) for code in errno.errorcode]
    texts += [p.read_text(encoding="utf-8") for f in folders for p in (*f.rglob("*.py"), *f.rglob("*.yaml"))]
    return frozenset(word.lower() for text in texts for word in re.findall(r"[A-Za-z]+", text))


def _own_words(benchmark: Any) -> frozenset[str]:
    """Collect the words and numbers of the benchmark as the user wrote it."""
    return frozenset(_TOKEN.findall(json.dumps(benchmark, default=str)))
