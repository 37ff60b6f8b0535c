"""The one place where transformers is imported quietly: nothing but results goes to the terminal."""

from __future__ import annotations

import os
from typing import Any


def quiet_transformers() -> Any:
    """Imports transformers with its progress bars and warnings off.

    Tokenizers stay single-threaded: stages run beside each other, and forked workers would warn.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
