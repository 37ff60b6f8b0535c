"""Register the baselines with a frozen language model."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.baselines.few_shot import FewShot
from eagbench_plugins.baselines.hybrid_embedding import HybridEmbedding
from eagbench_plugins.baselines.hybrid_prior import HybridPrior
from eagbench_plugins.baselines.hybrid_prompt import HybridPrompt


@hookimpl
def register_methods(register: Register) -> None:
    """Register `few_shot`, `hybrid_prompt`, `hybrid_embedding` and `hybrid_prior`."""
    register(FewShot)
    register(HybridPrompt)
    register(HybridEmbedding)
    register(HybridPrior)
