"""Makes the reward of a stage, which may want to see all training cases before it judges an answer about one."""

from __future__ import annotations

from eagbench.api import (
    Cases,
    ComparesPatients,
    Reward,
    StageRun,
    create_component,
    read_cross_fitted_probability,
    read_salience,
)


def fitted_reward(run: StageRun, cases: Cases) -> Reward:
    """Create the reward that the stage's parameters name, and show it the training cases if it compares patients."""
    reward: Reward = create_component(run.params["reward"])
    if "salience" in run.inputs and isinstance(reward, ComparesPatients):
        folder = run.inputs["salience"]
        reward.fit(cases, read_salience(folder), read_cross_fitted_probability(folder))
    return reward
