"""torch.ops.evomoe: what torch.compile needs to know of the operators, and the same as functions.

Experts are stacked: w1 [E,H,D], w2 [E,D,H], b1 [E,H], b2 [E,D]; gated ones have w3 [E,H,D] too, or, with gate_up, one
w1 [E,2H,D] whose first half is w1 and whose second is w3 (transformers' gate_up_proj). An assignment is a pair (token,
expert) that is computed; `token`, `weight` [A] list them expert by expert, `offset` [E+1] says where each begins.
"""

from __future__ import annotations

import torch
from torch import Tensor


def expert_mlp(x: Tensor, token: Tensor, weight: Tensor, offset: Tensor, w1: Tensor, w2: Tensor,
               b1: Tensor | None = None, b2: Tensor | None = None, w3: Tensor | None = None, *,
               activation: str = "gelu", gate_up: bool = False, recompute: bool = False) -> Tensor:
    """The experts' outputs times their combine weights, added up for each token: x [T,D] -> [T,D].

    `token` int64 [A] ascends within an expert, `offset` int64 [E+1] is on the CPU. `activation`: gelu, gelu_tanh, relu
    or silu. `recompute`: the backward pass makes the hidden values again. float32 on the CPU has fused kernels; other
    types and devices use plain tensor operations. It can be differentiated once."""
    return torch.ops.evomoe.expert_mlp(x, token, weight, offset, w1, w2, b1, b2, w3, activation, gate_up, recompute)


def assignments(expert: Tensor, experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """The assignments of top-k experts, int64 [T,K]: `token` [A], the `place` of each in expert.flatten(), `offset`."""
    return torch.ops.evomoe.assignments(expert, experts)


def _hidden(w1: Tensor, gate_up: bool) -> int:
    return w1.shape[1] // 2 if gate_up else w1.shape[1]


def _check(x: Tensor, token: Tensor, weight: Tensor, w1: Tensor) -> None:
    torch._check(x.dim() == 2 and w1.dim() == 3, lambda: f"the experts' input must be [T,D] and w1 [E,H,D], not "
                 f"{tuple(x.shape)} and {tuple(w1.shape)}")
    torch._check(x.shape[1] == w1.shape[2], lambda: f"the experts' input has {x.shape[1]} columns, w1 {w1.shape[2]}")
    torch._check(x.device == w1.device and x.device == weight.device, lambda: "input, assignments and weights of the "
                 f"experts must share one device, not {x.device}, {weight.device} and {w1.device}")
    torch._check(x.dtype == w1.dtype and x.dtype == weight.dtype, lambda: "input, assignments and weights of the "
                 f"experts must share one floating type, not {x.dtype}, {weight.dtype} and {w1.dtype}")


@torch.library.register_fake("evomoe::expert_mlp")
def _(x, token, weight, offset, w1, w2, b1=None, b2=None, w3=None, activation="gelu", gate_up=False, recompute=False):
    _check(x, token, weight, w1)
    return x.new_empty(x.shape)


@torch.library.register_fake("evomoe::expert_mlp_forward")
def _(x, token, weight, offset, w1, w2, b1, b2, w3, activation, gate_up, keep):
    _check(x, token, weight, w1)
    rows = (token.shape[0], _hidden(w1, gate_up))
    gated = gate_up or w3 is not None
    return x.new_empty(x.shape), x.new_empty(rows if keep else (0,)), x.new_empty(rows if keep and gated else (0,))


@torch.library.register_fake("evomoe::expert_mlp_backward")
def _(grad_y, x, token, weight, offset, w1, w2, b1, b2, w3, pre, factor, activation, gate_up, of_weights):
    def like(tensor):
        return x.new_empty(tensor.shape if tensor is not None and of_weights else (0,))

    return (x.new_empty(x.shape), x.new_empty(weight.shape), like(w1), like(w2), like(b1), like(b2), like(w3))


@torch.library.register_fake("evomoe::assignments")
def _(expert, experts):
    count = expert.shape[0] * expert.shape[1]
    return (expert.new_empty((count,)), expert.new_empty((count,)),
            torch.empty((experts + 1,), dtype=torch.int64, device="cpu"))


# Under torch.autocast the experts compute in float32, which their kernels are made for.
torch.library.register_autocast("evomoe::expert_mlp", "cpu", torch.float32)
