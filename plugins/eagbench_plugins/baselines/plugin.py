"""Register the baselines with a frozen language model."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.baselines.few_shot import FewShot
from eagbench_plugins.baselines.hybrid_embedding import HybridEmbedding
from eagbench_plugins.baselines.hybrid_prior import HybridPrior
from eagbench_plugins.baselines.hybrid_prompt import HybridPrompt
from eagbench_plugins.baselines.text_embedding import TextEmbedding
from eagbench_plugins.baselines.text_tfidf import TextTfidf


@hookimpl
def register_methods(register: Register) -> None:
    """Register few-shot prompts, the hybrids with an expert, and the readers of text alone."""
    register(FewShot)
    register(HybridPrompt)
    register(HybridEmbedding)
    register(HybridPrior)
    register(TextTfidf)
    register(TextEmbedding)
