"""Faults in runs of credentialed data: does a word, a file or a bundle carry a record, an id or a secret away?"""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Finished
from tests.credentialed_data import Private, command, eagbench, open_paths, write_benchmark, write_private
from tests.leaking_plugin import install
from tests.reliability.rows import Row

SMALL, FULL = 5, 40
SECRET = "qwertyuiop-12"
_SUBGROUPS = "subgroups: {by: [sex, ward]}"
_WAYS = ("value", "key", "chain", "user", "warning")


@dataclass(slots=True)
class _Place:
    """Where one fault is done: data with ids and values that are nowhere else, a plugin, and what came out."""

    folder: Path
    private: Private
    site: Path
    draw: random.Random
    said: list[str] = field(default_factory=list)

    def run(self, methods: str, *arguments: object, more: str = _SUBGROUPS, **variables: str) -> Finished:
        """Run a benchmark, and note all that it prints."""
        path = write_benchmark(self.folder / "b.yaml", self.private, methods, more)
        done = eagbench("run", path, "--out", "run", *arguments, folder=self.folder, site=self.site, **variables)
        self.said += [done.out, done.err]
        return done


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Do each fault in turn, so many in all, each on data and a store of its own."""
    counted: dict[str, list[str]] = {}
    for number, (name, fault) in zip(range(times), itertools.cycle(_FAULTS.items()), strict=False):
        place = folder / f"{number}"
        place.mkdir()
        draw = random.Random(seed * 1000 + number)
        private = write_private(place / "data", seed=draw.randrange(10**6))
        here = _Place(place, private, install(place / "site"), draw)
        found = [*fault(here), *_leaks(here)]
        counted.setdefault(name, []).append(f"{number}: {'; '.join(found)}" if found else "")
        shutil.rmtree(place)
    return [
        Row(f"{name}, credentialed data", len(ended), _HAPPENED[name], tuple(filter(None, ended)))
        for name, ended in counted.items()
    ]


def _leaks(place: _Place) -> list[str]:
    """Look for ids, values and secrets in all that was said, in the run folder and in a bundle; and for open files."""
    run, found = place.folder / "run", []
    said = "\n".join(place.said)
    found += [f"terminal says {word}" for word in place.private.found_in(said)]
    flat = [path for path in run.iterdir() if path.is_file() and path.suffix != ".parquet"] if run.is_dir() else []
    found += place.private.found_in_files(flat)
    for root in (run, place.folder / "store"):
        found += [f"open: {path}" for path in open_paths(root)] if root.is_dir() else []
        found += [f"secret in {p}" for p in root.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
    found += ["the terminal says the secret"] if SECRET in said else []
    return found + (_leaks_of_bundle(place) if (run / "manifest.json").is_file() else [])


def _leaks_of_bundle(place: _Place) -> list[str]:
    done = eagbench("export", "run", "--out", "bundle.zip", folder=place.folder, site=place.site)
    if done.code:
        return [f"export ended with {done.code}: {done.err}"]
    found = []
    with zipfile.ZipFile(place.folder / "bundle.zip") as archive:
        for name in archive.namelist():
            text = archive.read(name).decode()
            found += [f"bundle, {name}: {word}" for word in place.private.found_in(text)]
            found += [f"bundle, {name}: a path" for _ in [0] if str(place.folder) in text]
            found += [f"bundle, {name}: a secret" for _ in [0] if SECRET in text]
    return found


def _loader(place: _Place) -> list[str]:
    stay = place.draw.choice(place.private.stays)
    with (place.private.root / "outcomes.csv").open("a") as stream:
        stream.write(f"{stay},1,55,F,north\n")
    done = place.run("logistic_regression")
    return _kept(place, done, 2, stay)


def _plugin(place: _Place) -> list[str]:
    way = place.draw.choice(_WAYS)
    done = place.run(f"logistic_regression, {{name: leaking, how: {way}}}", "--workers", place.draw.choice((1, 2)))
    return _kept(place, done, 0 if way == "warning" else 1, "Z")


def _tracker(place: _Place) -> list[str]:
    words = f"{place.draw.choice(place.private.patients)} has {place.draw.choice(place.private.values)}"
    done = place.run("logistic_regression", more="trackers: [leaking_tracker]", LEAKED_WORDS=words)
    return _kept(place, done, 2, words)


def _stop(place: _Place) -> list[str]:
    path = write_benchmark(place.folder / "b.yaml", place.private, "{name: leaking, how: sleep}")
    arguments = ("run", path, "--out", "run", "--workers", place.draw.choice((1, 2)))
    process = command(*arguments, folder=place.folder, site=place.site)
    deadline = time.monotonic() + 300
    while not list((place.folder / "store" / "expert").glob("*/asleep")) and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    place.said += process.communicate(timeout=60)
    return [] if process.returncode == 143 else [f"ended with {process.returncode}"]


def _secret(place: _Place) -> list[str]:
    method = "logistic_regression, {name: leaking, as: odd, how: value, api_key: '${MY_TOKEN}'}"
    ways: list[tuple[str, tuple[object, ...]]] = [
        (method, ()),
        (method, ("--set", f"methods.odd.api_key={SECRET}")),
        (method, ("--set", f"data.citation=postgresql://ann:{SECRET}@host/x")),
        (method, ("--set", f"methods.odd.apikey={SECRET}")),  # a slip: the message must not repeat it
    ]
    methods, arguments = place.draw.choice(ways)
    done = place.run(methods, *arguments, MY_TOKEN=SECRET)
    return [] if done.code in (1, 2) else [f"ended with {done.code}: {done.err}"]


def _kept(place: _Place, done: Finished, code: int, words: str) -> list[str]:
    kept = place.folder / "run" / "private" / "errors.jsonl"
    found = [] if done.code == code else [f"ended with {done.code}, not {code}: {done.err}"]
    return found + ([] if kept.is_file() and words in kept.read_text() else ["the words of the error are lost"])


_FAULTS: dict[str, Callable[[_Place], list[str]]] = {
    "a record that a loader refuses": _loader,
    "a plugin's error that repeats a record": _plugin,
    "a tracker whose words repeat a record": _tracker,
    "SIGTERM in a stage": _stop,
    "a secret, by ${VAR}, by --set, in an address or under a wrong key": _secret,
}
_HAPPENED = {
    "a record that a loader refuses": "exit 2, the message names the file; the id is in private/errors.jsonl alone",
    "a plugin's error that repeats a record": "its cells fail by type and line, the words are in private/errors.jsonl",
    "a tracker whose words repeat a record": "refused by name; its words are in private/errors.jsonl alone",
    "SIGTERM in a stage": "exit 143; every file 0600",
    "a secret, by ${VAR}, by --set, in an address or under a wrong key": "it is in no file, message or bundle",
}
