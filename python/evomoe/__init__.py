"""Mixture-of-experts layers, routers and fast experts on the CPU, for PyTorch (docs/python.md)."""

from evomoe import _torch_version  # noqa: F401  (first: says what is wrong before the extension fails to load)
from evomoe import _C  # noqa: F401  (registers torch.ops.evomoe)
from evomoe import ops, routers
from evomoe.accelerated import accelerate
from evomoe.checkpoint import Checkpoint, load
from evomoe.moe_layer import MoELayer, MoEOutput, begin_update, end_update
from evomoe.ops import expert_mlp
from evomoe.routers import Router, RoutingContext

__version__ = "0.1.0"
__all__ = [
    "Checkpoint", "MoELayer", "MoEOutput", "Router", "RoutingContext", "accelerate", "begin_update", "end_update",
    "expert_mlp", "load", "ops", "routers",
]
