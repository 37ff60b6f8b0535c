"""The note beside fetched files: where they are from, which licence was accepted, and their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eagbench.contracts.data_sources import DataSource
from eagbench.errors import UserError
from eagbench.execution.whole_files import write_text

NAME = "eagbench_source.json"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The user's word on a licence.

    Attributes:
        how: Where it was given: `prompt` or `--accept-licence`.
        at: When, in UTC.
    """

    how: str
    at: str

    @classmethod
    def now(cls, how: str) -> Acceptance:
        """Note an acceptance that was given just now."""
        return cls(how, datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that is here, whole.

    Attributes:
        sha256: Its hash.
        vouched_by: `eagbench` if the data set declares the hash of the published file; else the name of the origin's
            list, which shows that the transfer was faultless and nothing beyond.
        taken_from: The address or the folder.
    """

    sha256: str
    vouched_by: str
    taken_from: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about a folder of fetched files."""

    licence: Acceptance
    files: Mapping[str, FetchedFile]

    def write(self, folder: Path, source: DataSource) -> None:
        """Write it into the folder."""
        told = {
            "source": source.name,
            "title": source.title,
            "origin": source.url,
            "citation": source.citation,
            "licence": {
                "name": source.licence,
                "text": source.licence_url,
                "accepted_at": self.licence.at,
                "accepted_by": self.licence.how,
            },
            "files": {path: asdict(file) for path, file in self.files.items()},
        }
        write_text(folder / NAME, json.dumps(told, indent=1) + "\n")


def read_record(folder: Path, source: DataSource) -> Record | None:
    """Read the note in a folder; None if there is none, or its licence is not the one that the source has.

    Raises:
        UserError: The folder holds another source's files, or the note is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        licence, name = told["licence"], str(told["source"])
        files = {str(key): FetchedFile(**file) for key, file in told["files"].items()}
        accepted = Acceptance(licence["accepted_by"], licence["accepted_at"])
        is_same_licence = (licence["name"], licence["text"]) == (source.licence, source.licence_url)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("the note on what was fetched is damaged", where=str(path), hint="remove it") from error
    if name != source.name:
        raise UserError(
            f"the folder holds the files of {name}", where=str(folder), hint="choose another folder with --to"
        )
    return Record(accepted, files) if is_same_licence else None
