"""Reads a prompt from a YAML file of its own, with the place of every mistake."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from eagbench.config.loading import validation_error
from eagbench.config.yaml_source import read_yaml
from eagbench.contracts.prompts import Wording


def read_wording(path: Path) -> Wording:
    """Read a prompt file.

    Raises:
        UserError: The file is missing or is no YAML, a key is unknown, a placeholder stands for nothing, or the text
            asks for an answer that its format does not have; the message names file and line.
    """
    source = read_yaml(path)
    try:
        return Wording.model_validate(source.tree)
    except ValidationError as error:
        raise validation_error(error, Wording, source, ()) from error
