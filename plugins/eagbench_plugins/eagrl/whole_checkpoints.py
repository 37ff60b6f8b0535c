"""A checkpoint of several processes is complete when each has written its part. Imported late: it imports torch."""

from __future__ import annotations

from typing import Any


class WholeCheckpoints:
    """Mixin of transformers trainers: the file that marks a checkpoint as complete comes after all other files.

    Each process writes the state of its own random numbers, then the first one writes that file. Without waiting, a
    kill could leave a checkpoint that seems complete and lacks another process's state.
    """

    accelerator: Any

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)  # type: ignore[misc]
        self.accelerator.wait_for_everyone()
