"""Checkpoints of the program evomoe."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from torch import Tensor

from evomoe import _C


@dataclasses.dataclass
class Checkpoint:
    model: dict[str, Tensor]
    """The model's tensors by name, on the CPU."""
    options: dict[str, Any]
    """What it was trained with, in groups, as config.yaml has it: options["moe"]["moe_router"], ..."""
    updates: int
    state: dict[str, Any]
    """All sections of manifest.json."""
    optimizer: dict[str, Tensor]
    """Empty unless it is asked for."""

    def layer(self, number: int) -> dict[str, Tensor]:
        """The tensors of the MoE layer of block `number`, by their names in evomoe.MoELayer."""
        found = {}
        for name, tensor in self.model.items():
            head, part, tail = name.partition(".moe_layer.")
            if part and head.split(".")[-1] == str(number):
                found[tail] = tensor
        if not found:
            raise KeyError(f"block {number} of the checkpoint has no MoE layer")
        return found


def load(path: str | os.PathLike[str], *, optimizer: bool = False) -> Checkpoint:
    """Reads a checkpoint (a folder with manifest.json), of one rank or of several. Each file is checked against its
    size and checksum. RuntimeError: it is damaged, or none."""
    state, model, of_optimizer = _C.load_checkpoint(os.fspath(path), optimizer)
    return Checkpoint(model=model, options=state["config"], updates=state["counters"]["updates"], state=state,
                      optimizer=of_optimizer)
