"""What a policy can do beside preparing and opening its model: one protocol per ability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from eagbench.contracts.language_models import PromptCounter


@runtime_checkable
class CountsPrompts(Protocol):
    """A policy that counts the tokens of prompts without its weights, for `eagbench plan` and `eagbench prompt`."""

    def counter(self, folder: Path) -> PromptCounter | None:
        """Open what counts tokens as the policy reads them.

        Args:
            folder: The model folder that `prepare` writes; it need not exist yet.

        Returns:
            The counter, which may also have `as_input` (the text that the model reads, chat template included). None
            if nothing can be counted before `prepare`.
        """
        ...


@runtime_checkable
class FetchablePolicy(Protocol):
    """A policy whose model `eagbench policy fetch` brings onto this machine."""

    @classmethod
    def fetch(cls, source: Path | None, root: Path | None, say: Callable[[str], None]) -> Path:
        """Write the model's folder, unless it is already there. A kill leaves either nothing there or a whole folder.

        Args:
            source: A file on this machine to take it from; None for where the policy knows it is.
            root: The folder that holds fetched policies; None for `policies_root()`, where the policy looks for it.
            say: Tells the user what is under way.

        Returns:
            The model's folder.

        Raises:
            UserError: The model can't be had or written, or is not the one that it should be.
        """
        ...
