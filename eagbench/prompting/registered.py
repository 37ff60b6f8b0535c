"""A prompt that a package registers: the base class of those whose words are a file."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, ClassVar

from eagbench.config.prompt_files import read_wording
from eagbench.contracts.components import StrictParams
from eagbench.contracts.prompts import Wording


class PromptFile:
    """A prompt whose words stand in a YAML file of its package.

    Attributes:
        name: Its name in a benchmark.
        file: The file, relative to the module of the class.
    """

    name: ClassVar[str]
    file: ClassVar[str]

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Any) -> None:
        self.params = params

    def wording(self) -> Wording:
        """Read the file."""
        return read_wording(Path(inspect.getfile(type(self))).parent / self.file)
