"""An expert's output as text, placed below the case's record in the prompt.

`short` is for policies that were pre-trained on the short prompts (`record_text: {instructions: short}`).
"""

from __future__ import annotations

from collections.abc import Sequence

from eagbench.api import RecordText


def probability_line(probability: float, record_text: RecordText) -> str:
    """Write the expert's probability, to two decimals."""
    if record_text.params.instructions == "short":
        return f"expert={probability:.2f}"
    return f"A prediction model that learnt from other patients gave this patient a probability of {probability:.2f}."


def features_line(features: Sequence[str], record_text: RecordText) -> str:
    """Write the features with the highest weight in the expert's output, highest first, named as in the record."""
    if record_text.params.instructions == "short":
        return f"expert_features={', '.join(features)}"
    return f"The features that weighed most in that model's answer, the heaviest first: {', '.join(features)}."
