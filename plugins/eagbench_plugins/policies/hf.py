"""`hf`: any causal language model for transformers that is stored on this machine, GGUF files included."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eagbench.api import (
    STYLES,
    Cases,
    LanguageModel,
    PolicyTraits,
    PromptCounter,
    RecordText,
    StageRun,
    StrictParams,
    UserError,
    is_device_process,
    prompt_text,
    refuse_long_prompts,
)
from eagbench_plugins.policies import gguf_file, model_origin
from eagbench_plugins.policies.device import Device
from eagbench_plugins.policies.format_params import FormatWarmUp
from eagbench_plugins.policies.precision import DType, SettledDType
from eagbench_plugins.policies.writing_memory import MEMORY_GB

if TYPE_CHECKING:
    from eagbench_plugins.policies.transformers_model import TransformersModel


class HuggingFacePolicy:
    """A local model folder or GGUF file, or a hub id in the local Hugging Face cache. Nothing is downloaded."""

    name: ClassVar[str] = "hf"

    class Params(StrictParams):
        """Where the model is and how it runs.

        Attributes:
            path: Model folder, GGUF file (`.gguf`), or the hub id of a model that is in the local cache.
            device: A torch device; `auto` is a GPU if there is one.
            dtype: Precision of the weights; `auto` is bfloat16 on a GPU and on a CPU that multiplies bfloat16 itself
                (AMX or AVX-512 BF16), else float32. Validation replaces `auto` by what it means on this machine, so
                that it is part of the fingerprint and the same wherever a stage runs.
            batch_size: Most texts generated at once; long ones are fewer, as `memory_gb` allows.
            memory_gb: Memory of the device, in GB, for weights, writing and training. It is declared, never measured:
                what follows from it (texts at once, rows of a training step) is then the same everywhere.
            cache_gb: Most of it for keys and values that are kept to read nothing twice; None for half of what the
                weights leave.
            devices: How many devices hold a whole copy each: GPUs, or processes that share a CPU's threads. They divide
                the texts of prediction and search, and the batches of training.
            format_warm_up: Teach the model the answer formats first; None takes it as it is.
        """

        path: str
        device: Device = "auto"
        dtype: SettledDType = Field(default="auto", validate_default=True)
        batch_size: int = Field(default=128, ge=1)
        memory_gb: float = Field(default=MEMORY_GB, gt=0)
        cache_gb: float | None = Field(default=None, gt=0)
        devices: int = Field(default=1, ge=1)
        format_warm_up: FormatWarmUp | None = None

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def traits(self) -> PolicyTraits:
        """Say how coarse the weights are, if a GGUF file or the folder tells, and in which precision they compute."""
        place = Path(self.params.path).expanduser()
        if _names_gguf(place):
            note = gguf_file.read_facts(place).note if place.is_file() else ""
        else:
            note = model_origin.note(place)
        return PolicyTraits(weights_note=note, setup=setup_of(self.params.dtype, self.params.memory_gb))

    def content(self) -> str:
        """Hash the names and bytes of the model's files.

        Planning calls this once per fold and seed, so within a process a file is read again only if its size or
        modification time changes.
        """
        place = self._place()
        files = [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
        digest = hashlib.sha256()
        for file in files:
            stat = file.stat()
            digest.update(f"{file.name}\0{_file_hash(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
        return digest.hexdigest()

    def prepare(self, cases: Cases, record_text: RecordText, run: StageRun) -> None:
        """Check that the model exists and really reads the records, and teach it the format if the parameters say so.

        Without a warm-up the policy folder only points to the model.

        Raises:
            UserError: There is no model, its input lacks the record or ends in an end token, or a record is longer than
                the model reads in any style.
        """
        from eagbench_plugins.policies.model_input import ModelInput

        where = f"policy hf, path {self.params.path}"
        read = ModelInput.load(self._place())
        if not len(cases):
            return
        prompts = [prompt_text(style, cases.items[0], cases, record_text) for style in STYLES.values()]
        for prompt in prompts:
            read.check(prompt, where)
        lengths = read.prompt_tokens(prompts)
        shortest = list(STYLES.values())[lengths.index(min(lengths))]
        refuse_long_prompts(read, [prompt_text(shortest, case, cases, record_text) for case in cases], 1, where)
        if self.params.format_warm_up is not None:
            from eagbench_plugins.policies.format_warm_up import warm_up

            warm_up(self._opened(self._place()), cases, record_text, self.params.format_warm_up, run)

    def counter(self, folder: Path) -> PromptCounter:
        """Open tokenizer and configuration, without the weights."""
        from eagbench_plugins.policies.model_input import ModelInput

        del folder
        return ModelInput.load(self._place())

    def open(self, folder: Path) -> LanguageModel:
        """Open the model that training wrote into `folder`, else the one that the parameters name."""
        place = folder if (folder / "config.json").is_file() else self._place()
        if self.params.devices > 1 and not is_device_process():
            from eagbench_plugins.policies.replicas import ReplicatedModel, check_devices

            check_devices(self.params.devices, self.params.device)
            return ReplicatedModel(self, folder, place, self.params.devices)
        return self._opened(place)

    def _opened(self, place: Path) -> TransformersModel:
        from eagbench_plugins.policies.transformers_model import TransformersModel

        return TransformersModel.load(
            place,
            dtype=self.params.dtype,
            device=self.params.device,
            batch_size=self.params.batch_size,
            cache_gb=self.params.cache_gb,
            memory_gb=self.params.memory_gb,
        )

    def _place(self) -> Path:
        """Return the model folder or the GGUF file.

        Raises:
            UserError: There is none, or it lacks something.
        """
        folder = Path(self.params.path).expanduser()
        if _names_gguf(folder):
            if not folder.is_file():
                raise UserError(
                    "there is no such GGUF file",
                    where=f"policy hf, path {self.params.path}",
                    hint="Give the path of a GGUF file on this machine.",
                )
            gguf_file.read_facts(folder)  # refuses what is no whole GGUF file
            return folder
        if not folder.exists():
            folder = _cached(self.params.path)
        if not folder.is_dir() or not (folder / "config.json").is_file():
            raise UserError(
                "this is not a model folder: it has no config.json",
                where=f"policy hf, path {self.params.path}",
                hint="Give the folder that holds config.json, the weights and the tokenizer's files.",
            )
        if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
            raise UserError(
                "this model folder has no weights (*.safetensors or pytorch_model*.bin)",
                where=f"policy hf, path {self.params.path}",
                hint="Download the weights into the folder; large files may have been left out of a copy.",
            )
        for file in sorted(folder.glob("*.safetensors")):
            _refuse_damaged(file)
        return folder


def _refuse_damaged(file: Path) -> None:
    """Refuse a file of weights that is cut off, or no such file: a download that ended early, a pointer of Git LFS."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np"):  # reads and checks the header
            pass
    except SafetensorError as error:
        raise UserError(
            f"the weights are damaged or incomplete: {error}",
            where=str(file),
            hint="Copy or download the file again; for a fetched policy remove its folder and fetch it again.",
        ) from error


def setup_of(dtype: DType, memory_gb: float) -> str:
    """Say in a clause how a policy is set up on this machine."""
    return f"it computes in {dtype}, within {memory_gb:g} GB"


def _names_gguf(place: Path) -> bool:
    return place.suffix.lower() == ".gguf" and not place.is_dir()


@cache
def _file_hash(file: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # they only tell one version of the file from another
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cached(hub_id: str) -> Path:
    """Find the snapshot of a hub id in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise UserError(
            "there is no such folder, and no model of this name in the local Hugging Face cache",
            where=f"policy hf, path {hub_id}",
            hint="Give the path of a local model folder, or download the model first (`hf download`).",
        ) from error
