"""A sparse mixture-of-experts layer: route, drop what exceeds capacity, experts, combine."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evomoe import _C, ops
from evomoe.routers import Router, RouterStats, RoutingContext


class MoEOutput(NamedTuple):
    y: Tensor
    losses: dict[str, Tensor]
    """Of the router: "balance" and "z" are to be multiplied by a weight, others have theirs."""
    stats: RouterStats


class Experts(nn.Module):
    """The stacked weights w1 [E,H,D], w2 [E,D,H] and, where the experts have them, b1 [E,H], b2 [E,D], w3 [E,H,D]."""

    w1: Tensor
    w2: Tensor
    b1: Tensor | None
    b2: Tensor | None
    w3: Tensor | None

    def __init__(self, num_experts: int, model_dim: int, hidden_dim: int, *, activation: str = "gelu",
                 gated: bool = False, biases: bool = True, recompute: bool = False, seed: int = 1,
                 layer: int = 0) -> None:
        super().__init__()
        self.activation, self.recompute = activation, recompute
        first = dict(_C.initial_experts(num_experts, model_dim, hidden_dim, activation, gated, biases, seed, layer))
        for name in ("w1", "b1", "w2", "b2", "w3"):
            self.register_parameter(name, nn.Parameter(first[name]) if name in first else None)

    def forward(self, x: Tensor, token: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
        return ops.expert_mlp(x, token, weight.to(x.dtype), offset, self.w1, self.w2, self.b1, self.b2, self.w3,
                              activation=self.activation, recompute=self.recompute)

    def extra_repr(self) -> str:
        experts, hidden, model = self.w1.shape
        gated = ", gated" if self.w3 is not None else ""
        return f"{experts}, model_dim={model}, hidden_dim={hidden}, activation={self.activation}{gated}"


class MoELayer(nn.Module):
    """x [B,S,D] (or [T,D]) -> MoEOutput, whose y has the same shape.

    `router` is a name of evomoe.routers.names(), `router_options` are that method's own (evomoe.routers.options(name)):

        layer = evomoe.MoELayer(512, 1024, 8, "topk", moe_k=2, activation="silu", gated=True, biases=False)

    Parameters have the names and first values of the layer in C++: `gate.wg.weight`, `experts.w1`, ... Give each layer
    of a model its own `layer` number, so that layers differ. evomoe.end_update(model) after each step of the optimiser
    moves what routers keep beside parameters, and counts updates, by which noise is keyed."""

    def __init__(self, model_dim: int, hidden_dim: int, num_experts: int, router: str = "topk", *,
                 activation: str = "gelu", gated: bool = False, biases: bool = True, recompute: bool = False,
                 seed: int = 1, layer: int = 0,
                 vocab_size: int = 0, z_loss_weight: float = 0.0, balance_scope: str = "micro-batch",
                 **router_options: Any) -> None:
        super().__init__()
        self.gate = Router(router, model_dim, num_experts, seed=seed, layer=layer, vocab_size=vocab_size,
                           z_loss_weight=z_loss_weight, balance_scope=balance_scope, **router_options)
        self.experts = Experts(num_experts, model_dim, hidden_dim, activation=activation, gated=gated, biases=biases,
                               recompute=recompute, seed=seed, layer=layer)
        self.updates = 0
        self._stats: RouterStats | None = None

    def forward(self, x: Tensor, context: RoutingContext | None = None) -> MoEOutput:
        """Losses and statistics count the valid tokens of the context."""
        model_dim = self.gate.model_dim
        if x.dim() not in (2, 3) or x.shape[-1] != model_dim:
            raise ValueError(f"the layer takes [tokens, {model_dim}] or [batch, sequence, {model_dim}], not "
                             f"{list(x.shape)}")
        flat = x.reshape(-1, model_dim)
        for name in ("valid", "token_id"):
            given = getattr(context, name, None)
            if given is not None and given.numel() != len(flat):
                raise ValueError(f"{name} has {given.numel()} entries for {len(flat)} tokens")
        context = context or RoutingContext()
        if context.update is None:
            context = dataclasses.replace(context, update=self.updates)
        routing = self.gate(flat, context, x.shape[1] if x.dim() == 3 else 0)
        y = self.experts(flat, routing.token, routing.weight, routing.offset)
        if routing.identity is not None:
            y = y + flat * routing.identity.unsqueeze(1).to(flat.dtype)
        if routing.vector_weight is not None:
            y = y + routing.vector_weight.to(y.dtype) @ routing.vector.to(y.dtype)
        if self.training:
            self._stats = routing.stats if self._stats is None else self._stats + routing.stats
        return MoEOutput(y.reshape(x.shape), routing.losses, routing.stats)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stats": None}  # of an update that goes on; they are not kept


def _layers(model: nn.Module) -> list[MoELayer]:
    return [module for module in model.modules() if isinstance(module, MoELayer)]


def begin_update(model: nn.Module) -> None:
    """Before the first micro-batch of an update, also of one that follows a skipped one."""
    for layer in _layers(model):
        layer._stats = None
        layer.gate.begin_update()


@torch.no_grad()
def end_update(model: nn.Module) -> None:
    """After a step of the optimiser: the routers of all MoE layers of `model` move their biases and thresholds by what
    they did since begin_update() (or the last end_update())."""
    layers = _layers(model)
    all_stats = [layer._stats for layer in layers if layer._stats is not None]
    for layer in layers:
        if layer._stats is not None:
            layer.gate.end_update(layer._stats, all_stats)
        layer.updates += 1
    begin_update(model)
