"""Register the searches, rewards and methods of EAG-RL."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.eagrl.answer_supervision import AnswerSupervision
from eagbench_plugins.eagrl.eag_rl import EAGRL
from eagbench_plugins.eagrl.grpo import DAPO, GRPO
from eagbench_plugins.eagrl.rewards.attention_mass import AttentionMassReward
from eagbench_plugins.eagrl.rewards.brier import BrierReward
from eagbench_plugins.eagrl.rewards.citation_jaccard import CitationJaccardReward
from eagbench_plugins.eagrl.rewards.classification import ClassificationReward
from eagbench_plugins.eagrl.rewards.eag import EAGReward
from eagbench_plugins.eagrl.searches.beam import Beam
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from eagbench_plugins.eagrl.searches.greedy import Greedy
from eagbench_plugins.eagrl.searches.mcts import MCTS, ExpertMCTS
from eagbench_plugins.eagrl.trajectory_distillation import TrajectoryDistillation


@hookimpl
def register_searches(register: Register) -> None:
    """Register `greedy`, `best_of_n`, `beam`, `mcts` and `expert_mcts`."""
    register(Greedy)
    register(BestOfN)
    register(Beam)
    register(MCTS)
    register(ExpertMCTS)


@hookimpl
def register_rewards(register: Register) -> None:
    """Register `eag`, `classification`, `citation_jaccard`, `attention_mass` and `brier`."""
    register(EAGReward)
    register(ClassificationReward)
    register(CitationJaccardReward)
    register(AttentionMassReward)
    register(BrierReward)


@hookimpl
def register_methods(register: Register) -> None:
    """Register `sft`, `trajectory_distillation`, `eag_rl`, `grpo` and `dapo`."""
    register(AnswerSupervision)
    register(TrajectoryDistillation)
    register(EAGRL)
    register(GRPO)
    register(DAPO)
