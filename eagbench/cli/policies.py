"""What `eagbench policy fetch` does."""

from __future__ import annotations

import sys
from pathlib import Path

from eagbench.config.folders import policies_root
from eagbench.contracts.policy_abilities import FetchablePolicy
from eagbench.errors import UserError
from eagbench.registry.plugins import load_registry


def fetch(name: str, source: Path | None, to: Path | None) -> str:
    """Bring a policy's model onto this machine, and say how a benchmark names it.

    Args:
        name: The policy.
        source: A file to take it from; None to download it.
        to: The folder that holds fetched policies; None for the user's own.

    Raises:
        UserError: There is no such policy, it has nothing to fetch, or its model can't be had.
    """
    registry = load_registry()
    component = registry.get("policy", name, where="policy fetch").component
    if not isinstance(component, FetchablePolicy):
        able = [n for n in registry.names("policy") if isinstance(registry.get("policy", n).component, FetchablePolicy)]
        raise UserError(
            f"the policy '{name}' has nothing to fetch",
            where="policy fetch",
            hint=f"choices: {', '.join(able)}; docs/policies.md says where each policy's model comes from",
        )
    root = None if to is None else to.expanduser().absolute()
    folder = component.fetch(source, root, lambda line: print(line, file=sys.stderr))
    lines = [f"model folder: {folder}", f"in a benchmark: policy: {{name: {name}}}"]
    if root is not None and root != policies_root():
        lines.append(f"and in the environment: EAGBENCH_POLICIES={root}")
    return "\n".join(lines)
