"""What `eagbench show` does."""

from __future__ import annotations

import sys
from pathlib import Path

from eagbench.cli.commands import as_private_as
from eagbench.config.folders import default_root
from eagbench.report.cases.page import write_case_page
from eagbench.report.cases.selection import Asked, chosen, setting_of
from eagbench.report.cases.terminal import case_text, list_text
from eagbench.report.cases.training_text import searched_case_text, searched_list_text
from eagbench.runs.cases.answers import read_settings
from eagbench.runs.reader import RunFolder


def show(folder: Path, case_id: str | None, asked: Asked, most: int) -> str:
    """List the cases of a run, or show one.

    Args:
        folder: The run folder.
        case_id: The case; None lists cases.
        asked: What the user chose.
        most: How many to list.

    Raises:
        UserError: The run lacks what was asked for.
    """
    with as_private_as(folder):
        run = RunFolder(folder)
        cases = setting_of(read_settings(run), asked.domains)
        selection = chosen(run, cases, asked)
        if case_id is None:
            text = list_text(run, cases, selection, most)
        else:
            text = case_text(run, cases, selection, case_id, default_root())
    _say_whose(run)
    return text


def show_training(folder: Path, case_id: str | None, most: int) -> str:
    """List the training cases on which a run searched trajectories, or show one with its search tree.

    Args:
        folder: The run folder.
        case_id: The case; None lists cases.
        most: How many to list.

    Raises:
        UserError: The run searched none, or the store lacks them.
    """
    with as_private_as(folder):
        run = RunFolder(folder)
        if case_id is None:
            text = searched_list_text(run, default_root(), most)
        else:
            text = searched_case_text(run, default_root(), case_id)
    _say_whose(run)
    return text


def write_page(folder: Path) -> str:
    """Write the page of a run's cases, and say where it is and whose records it holds.

    Raises:
        UserError: The run folder holds no answers to single cases.
    """
    with as_private_as(folder):
        run = RunFolder(folder)
        page = write_case_page(run, default_root())
    _say_whose(run)
    return f"cases: {page}"


def _say_whose(run: RunFolder) -> None:
    if run.manifest.get("access") == "credentialed":
        what = "these are records of patients, from credentialed data: they must not leave this machine"
        print(what, file=sys.stderr)
