"""Whole records as texts to learn, from which a policy learns what records are like before it sees any label.

Each value is predicted from what stands before it. The features are in an order of their own in every example, so a
value is predicted from whichever others come first, and in a record of several periods from the feature's earlier ones.
"""

from __future__ import annotations

import numpy as np

from eagbench.api import Case, Cases, RecordText, Style, TrainingNames, prompt_text
from eagbench_plugins.policies.format_examples import FormatExample, often_renamed


class RecordExamples:
    """Draws records of unlabelled cases.

    Args:
        cases: Training cases.
        record_text: The fitted record text.
        names: Names that about every second record shows features under; None changes no name.
    """

    def __init__(self, cases: Cases, record_text: RecordText, names: TrainingNames | None = None) -> None:
        self._cases = cases
        self._record_text = record_text
        self._names = names

    def draw(self, style: Style, rng: np.random.Generator, most_features: int | None = None) -> FormatExample:
        """Draw a random case's prompt, all of which is to be learnt.

        Args:
            style: Whose prompt.
            rng: Random generator.
            most_features: Has no meaning here: to predict values from others takes the others.
        """
        del most_features
        case: Case = self._cases.items[int(rng.integers(len(self._cases)))]
        shuffled = often_renamed(case.with_columns(rng.permutation(len(case.features))), self._names, rng)
        return FormatExample("", prompt_text(style, shuffled, self._cases, self._record_text))
