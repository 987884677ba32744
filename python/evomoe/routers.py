"""The routing methods of evomoe (docs/routing.md), as modules of PyTorch."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evomoe import _C
from evomoe._C import Routing, RouterStats

__all__ = ["Option", "Router", "RouterStats", "Routing", "RoutingContext", "names", "options"]


class Option(NamedTuple):
    """An option of a method, given to Router and MoELayer by its name."""

    name: str
    default: Any
    help: str


def names() -> list[str]:
    """The methods that a Router can be made of: all of docs/routing.md but `default-moe`."""
    return _C.router_names()


def options(method: str) -> list[Option]:
    """The options of a method."""
    return [Option(*option) for option in _C.router_options(method)]


@dataclasses.dataclass(frozen=True)
class RoutingContext:
    """All that routing depends on and that is no parameter. Noise is a function of seed, update, layer, sequence and
    position: the same run gives the same numbers, and no generator of torch is used."""

    update: int | None = None
    """Completed updates of the optimiser; keys the noise. None: those that the layer has counted (evomoe.end_update);
    a Router alone counts none, and takes 0."""
    seed: int | None = None
    """Keys the noise. None: the seed that the layer, or the Router, was made with."""
    first_sequence: int = 0
    """The number of the batch's first sequence among all of the update: 0, or what micro-batches before had."""
    temperature: float = -1.0
    """Of the Gumbel-softmax of `dts` and `switch`; 0 or less: none."""
    hard: bool = False
    """One expert per token, in `dts`."""
    noise_scale: float = 1.0
    valid: Tensor | None = None
    """bool, one for each token: false for padding."""
    token_id: Tensor | None = None
    """int64, one for each token: its number in the vocabulary, for `hash` and `stablemoe`."""


class _Names(nn.Module):
    """The part of a parameter's name before a dot."""


class Router(nn.Module):
    """x [T,D] -> Routing: who computes what, with which combine weight. A router of the C++ library, which computes
    with the parameters and buffers of this module. `layer` keys first values and noise; `options` are the method's
    own."""

    def __init__(self, method: str, model_dim: int, num_experts: int, *, seed: int = 1, layer: int = 0,
                 vocab_size: int = 0, z_loss_weight: float = 0.0, balance_scope: str = "micro-batch",
                 **options: Any) -> None:
        super().__init__()
        self.method, self.model_dim, self.num_experts, self.seed, self.layer = (method, model_dim, num_experts, seed,
                                                                                layer)
        self._arguments = (method, model_dim, num_experts, seed, layer, vocab_size, z_loss_weight, balance_scope,
                           options)
        self._router = self._made()
        parameters, buffers = self._router.parameters(), self._router.buffers()
        for name, tensor in parameters:
            parent, last = self._parent(name)
            parent.register_parameter(last, nn.Parameter(tensor))
        for name, tensor in buffers:
            parent, last = self._parent(name)
            parent.register_buffer(last, tensor)
        self._names = [name for name, _ in parameters + buffers]

    def _made(self) -> _C.Router:
        return _C.Router(*self._arguments)

    def _parent(self, name: str) -> tuple[nn.Module, str]:
        """The module that a tensor of this name belongs to, made if there is none, and its name there."""
        *path, last = name.split(".")
        parent: nn.Module = self
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, _Names())
            parent = parent._modules[part]
        return parent, last

    def _tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers as they are now. The C++ side gets them at each call, because they may be replaced: by
        to(), load_state_dict(assign=True), a parametrization, or by hand."""
        return {name: operator.attrgetter(name)(self) for name in self._names}

    @property
    def most_experts_per_token(self) -> int:
        return self._router.most_experts_per_token

    @property
    def follows_schedule(self) -> bool:
        """Whether temperature, hard and noise_scale change the routing."""
        return self._router.follows_schedule

    @property
    def sees_future(self) -> str:
        """Why a token's experts depend on tokens behind it, so that it is not for causal models; empty: they do not."""
        return self._router.sees_future

    @torch.compiler.disable
    def forward(self, x: Tensor, context: RoutingContext | None = None, sequence_length: int = 0) -> Routing:
        """Noise in training only. `sequence_length`: of the sequences that x [T,D] is made of; 0: it is one."""
        c = context or RoutingContext()
        return self._router.route(
            x, self._tensors(), training=self.training, seed=self.seed if c.seed is None else c.seed,
            update=c.update or 0, first_sequence=c.first_sequence, sequence_length=sequence_length,
            temperature=c.temperature, hard=c.hard, noise_scale=c.noise_scale,
            valid=None if c.valid is None else c.valid.reshape(-1),
            token_id=None if c.token_id is None else c.token_id.reshape(-1))

    def begin_update(self) -> None:
        self._router.begin_update()

    def end_update(self, stats: RouterStats, of_all_layers: list[RouterStats] | None = None) -> None:
        """After an update of the optimiser: moves biases, thresholds and tables by what the whole batch did."""
        self._router.end_update(self._tensors(), stats, of_all_layers if of_all_layers is not None else [stats])

    def extra_repr(self) -> str:
        return f"{self.method}, model_dim={self.model_dim}, num_experts={self.num_experts}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_router"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._router = self._made()
