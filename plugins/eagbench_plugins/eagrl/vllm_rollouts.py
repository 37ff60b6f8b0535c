"""Trajectories of Stage II from a vLLM server: each batch is sampled with the adapters as they are at that moment.

Before a batch the adapters are written into a folder under a name that no earlier batch or process had, and the server
loads them. Whether it holds this version is checked before and after the batch, and in every answer. The prompt goes
there and the text comes back as tokens. Their old log-probabilities are computed here, as for any other trajectory, so
the first ratio is 1; that the server's arithmetic differs from the training's is not corrected for.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.api import StageRun, UserError
from eagbench_plugins.eagrl.vllm_params import VLLMRollouts
from eagbench_plugins.eagrl.vllm_server import VLLMServer, Written


class VLLMSampler:
    """Samples trajectories from a vLLM server.

    Args:
        params: Where the server is.
        run: The stage's run.
        base: Folder of the model that the adapters belong to.
        rank: Rank of the adapters.
        temperature: Temperature of the trajectories.
        most: Maximum number of tokens per trajectory.
    """

    def __init__(
        self, params: VLLMRollouts, run: StageRun, base: Path, *, rank: int, temperature: float, most: int
    ) -> None:
        # Names of this stage, so that what a killed process left on the server is found, and never taken for new.
        self._prefix = f"eagbench-{hashlib.sha256(str(run.out).encode()).hexdigest()[:8]}-"
        # A folder of the stage's own within the user's, because it is emptied.
        shared = Path(params.folder).expanduser().resolve() if params.folder else run.checkpoints
        self._folder = shared / f"{self._prefix}adapters"
        self._process = uuid.uuid4().hex[:8]
        self._base, self._concurrency, self._seed = base, params.concurrency, run.seed
        self._request = {
            "max_tokens": most,
            "temperature": temperature,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
        start = f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve {base} --enable-lora --max-lora-rank {rank}"
        self._server = VLLMServer(params.base_url, params.timeout_s, start)
        self._versions = itertools.count()
        self._loaded: str | None = None

    def open(self) -> None:
        """Check the server, and drop what a killed process of this stage left there.

        Raises:
            UserError: It can't be reached, or serves another model.
        """
        self._server.check_serves(self._base)
        for name in self._server.models():
            if name.startswith(self._prefix):
                self._server.unload(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Drop the last adapters, if the server still answers."""
        if self._loaded is not None:
            with contextlib.suppress(UserError):
                self._server.unload(self._loaded)
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(
        self, adapters: Any, prompts: Sequence[Sequence[int]], ends: frozenset[int], step: int
    ) -> list[list[int]]:
        """Sample a text after each prompt.

        Args:
            adapters: The PEFT model as it is now.
            prompts: Tokens of the prompts; equal ones, which form a group, stand together.
            ends: The tokens that end a text.
            step: The optimisation step, from which the seeds are drawn.

        Returns:
            The tokens of each text, the one that ended it included.

        Raises:
            UserError: The server does not sample from this version, or could not be reached.
        """
        name = f"{self._prefix}{self._process}-{next(self._versions)}"
        folder = self._folder / name
        adapters.save_pretrained(str(folder), selected_adapters=["default"])
        self._server.load(name, folder)
        if self._loaded is not None:
            self._server.unload(self._loaded)
            shutil.rmtree(self._folder / self._loaded)
        self._loaded = name
        self._server.check_holds(name, folder)
        groups = [(list(prompt), len(list(same))) for prompt, same in itertools.groupby(map(tuple, prompts))]
        seeds = np.random.default_rng([self._seed, 4, step]).integers(2**31, size=len(groups)).tolist()
        with ThreadPoolExecutor(self._concurrency) as pool:
            texts = list(pool.map(lambda group, seed: self._group(name, group, ends, seed), groups, seeds))
        self._server.check_holds(name, folder)
        return [tokens for group in texts for tokens in group]

    def _group(self, name: str, group: tuple[list[int], int], ends: frozenset[int], seed: int) -> list[list[int]]:
        request = {**self._request, "seed": seed, "stop_token_ids": sorted(ends)}
        written = self._server.write(name, *group, request)
        _check_ends(written, ends)
        return written.tokens


def _check_ends(written: Written, ends: frozenset[int]) -> None:
    """Check that each text ended as in training: with an end token, or at the limit.

    Raises:
        UserError: One did not.
    """
    for tokens, was_cut in zip(written.tokens, written.was_cut, strict=True):
        if not tokens or (not was_cut and tokens[-1] not in ends):
            raise UserError(
                "the vLLM server ended a text without one of the tokens that end it in training",
                where="policy_optimisation, rollouts",
                hint="start it with the tokenizer and generation_config.json of the model's folder, and without "
                "default stop strings",
            )


@contextlib.contextmanager
def open_sampler(sampler: VLLMSampler | None) -> Iterator[None]:
    """Hold a server ready within the context; nothing without one."""
    if sampler is None:
        yield
        return
    sampler.open()
    try:
        yield
    finally:
        sampler.close()
