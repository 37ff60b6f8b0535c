"""Fetches the files of a data source into a folder, each checked against its hash."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from eagbench.config.secrets import masked_text
from eagbench.contracts.data_sources import DataSource, SourceFile
from eagbench.errors import UserError
from eagbench.execution.fetching.checksums import read_checksums
from eagbench.execution.fetching.partial import Partial
from eagbench.execution.fetching.record import NAME, FetchedFile, Record
from eagbench.execution.fetching.transfer import Transfer, new_client
from eagbench.execution.progress import Reporter
from eagbench.execution.stage_files import file_hash

BY_EAGBENCH = "eagbench"


def fetch(source: DataSource, folder: Path, record: Record, place: str | None, reporter: Reporter) -> Record:
    """Bring all files of a source into a folder. What is there and whole is kept; an interrupted fetch goes on.

    Args:
        source: What to fetch.
        folder: Where to.
        record: The licence's acceptance, and the files that were fetched before.
        place: The address or folder of a copy; None for the origin.
        reporter: Says what is under way.

    Returns:
        The record, with all files; it lies in the folder as well.

    Raises:
        UserError: A file can't be had, is not the published one, or would overwrite another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            # The operating system releases this lock when its holder dies.
            held.enter_context(FileLock(folder / ".eagbench-fetch.lock", timeout=0))
        except Timeout as error:
            raise UserError(
                "another command is fetching into this folder", where=str(folder), hint="wait for it"
            ) from error
        fetching = _Fetching(source, folder, place or source.url, reporter, record, held)
        if not (folder / NAME).is_file():
            fetching.note()  # the acceptance, so that an interrupted fetch asks once
        for file in source.files:
            fetching.bring(file)
        return fetching.record


@dataclass(slots=True)
class _Fetching:
    """One fetch under way."""

    source: DataSource
    folder: Path
    place: str
    reporter: Reporter
    record: Record
    held: ExitStack
    _transfer: Transfer | None = None
    _listed: dict[str, str] | None = field(default=None)

    @property
    def by_hand(self) -> str:
        """Say how to do without this transfer."""
        names = ", ".join(file.path for file in self.source.files)
        listed = f" and {self.source.checksums}" if self.source.checksums else ""
        return (
            f"or download {names}{listed} from {self.source.page} in a browser, and give their folder with --from; a "
            "proxy is taken from HTTPS_PROXY"
        )

    def note(self) -> None:
        """Write the record."""
        self.record.write(self.folder, self.source)

    def bring(self, file: SourceFile) -> None:
        """Have a file here, whole and checked."""
        place = self.folder / file.path
        before = self.record.files.get(file.path)
        known = self._fetched(file.path, file.sha256, BY_EAGBENCH) if file.sha256 else before
        if place.exists():
            expected = known or self._expected(file)
            if file_hash(place) == expected.sha256:
                self.reporter.say(f"{file.path}: here, and whole")
                if before is None or before.sha256 != expected.sha256:
                    self._took(file, replace(expected, taken_from=str(self.folder)))
                return
            if before is None:
                raise UserError(
                    f"a file of this name is there, and is not the published one (its SHA-256 is not "
                    f"{expected.sha256}, for which {expected.vouched_by} vouches)",
                    where=str(place),
                    hint="move it away, or choose another folder with --to",
                )
            self.reporter.say(f"{file.path}: changed or damaged since it was fetched; fetching it again")
        expected = known or self._expected(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = Partial(place)
        was_joined = self._copy(file.path, partial)
        if was_joined and file_hash(partial.file) != expected.sha256:
            self.reporter.say(f"{file.path}: its parts do not belong together; fetching it anew")
            partial.drop()
            self._copy(file.path, partial)
        found = file_hash(partial.file)
        if found != expected.sha256:
            partial.drop()
            raise UserError(
                f"what came is not the published file: its SHA-256 is {found}, not {expected.sha256}, for which "
                f"{expected.vouched_by} vouches; it was removed",
                where=masked_text(self._address(file.path)),
                hint=f"the origin may have changed it, or something on the way; {self.by_hand}",
            )
        partial.finish()
        self._took(file, expected)

    def _took(self, file: SourceFile, found: FetchedFile) -> None:
        self.record = replace(self.record, files={**self.record.files, file.path: found})
        self.note()

    def _expected(self, file: SourceFile) -> FetchedFile:
        """Look a file's hash up in the list of the place that it is taken from."""
        name = self.source.checksums
        if self._listed is None:
            partial = Partial(self.folder / name)
            partial.drop()
            self._copy(name, partial)
            self._listed = read_checksums(partial.file)
            partial.finish()
        if file.path not in self._listed:
            raise UserError(
                f"{name} does not list {file.path}, so nothing vouches for it",
                where=masked_text(self._address(name)),
                hint=self.by_hand,
            )
        return self._fetched(file.path, self._listed[file.path], name)

    def _fetched(self, path: str, sha256: str, vouched_by: str) -> FetchedFile:
        return FetchedFile(sha256, vouched_by, masked_text(self._address(path)))

    def _copy(self, path: str, partial: Partial) -> bool:
        """Bring a file from the place; True if an earlier attempt's bytes are a part of it."""
        if self._is_remote:
            if self._transfer is None:
                client = self.held.enter_context(new_client())
                self._transfer = Transfer(client, self.reporter, self.by_hand)
            return self._transfer.bring(self._address(path), partial)
        origin = Path(self.place).expanduser() / path
        if not origin.is_file():
            raise UserError("there is no such file", where=str(origin), hint=self.by_hand)
        self.reporter.say(f"{path}: copied from {origin}")
        partial.drop()
        shutil.copyfile(origin, partial.file)
        return False

    @property
    def _is_remote(self) -> bool:
        return self.place.startswith(("https://", "http://"))

    def _address(self, path: str) -> str:
        return f"{self.place.rstrip('/')}/{path}" if self._is_remote else str(Path(self.place) / path)
