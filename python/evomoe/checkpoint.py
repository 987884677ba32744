"""Checkpoints of the program evomoe."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any

from torch import Tensor

from evomoe import _C


@dataclasses.dataclass
class Checkpoint:
    path: pathlib.Path
    """Where it was read."""
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

    def to_transformers(self, folder: str | os.PathLike[str] | None = None, *, program: str = "evomoe",
                        **arguments: Any) -> Any:
        """The language model as one of transformers, which makes logits, generates and can be trained:
        AutoModelForCausalLM.from_pretrained(..., **arguments) of what the program's `convert --to hf` writes into
        `folder` (None: one that is deleted afterwards). FileNotFoundError: there is no such program. RuntimeError:
        what the program says, e.g. that it cannot write there."""
        import transformers

        if shutil.which(program) is None:
            raise FileNotFoundError(f"there is no program '{program}', which converts the checkpoint; install evomoe "
                                    "(make install), or name it: program='build/release/evomoe'")
        with tempfile.TemporaryDirectory() as temporary:
            target = pathlib.Path(temporary) / "model" if folder is None else pathlib.Path(folder)
            done = subprocess.run([program, "convert", os.fspath(self.path), "--to", "hf", "--output",
                                   os.fspath(target)], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.strip() or f"{program} convert: exit status {done.returncode}")
            # The code in that folder, if there is any, is the program's own.
            return transformers.AutoModelForCausalLM.from_pretrained(target, trust_remote_code=True, **arguments)


def load(path: str | os.PathLike[str], *, optimizer: bool = False) -> Checkpoint:
    """Reads a checkpoint (a folder with manifest.json), of one rank or of several. Each file is checked against its
    size and checksum. RuntimeError: it is damaged, or none."""
    state, model, of_optimizer = _C.load_checkpoint(os.fspath(path), optimizer)
    return Checkpoint(path=pathlib.Path(path), model=model, options=state["config"],
                      updates=state["counters"]["updates"], state=state, optimizer=of_optimizer)
