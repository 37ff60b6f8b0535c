"""The only place that imports transformers quietly, so that only results appear in the terminal."""

from __future__ import annotations

import os
from typing import Any


def quiet_transformers() -> Any:
    """Import transformers with its progress bars and warnings off.

    Tokenizers stay single-threaded, because stages run in parallel and forked workers would warn.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
