"""Experts of transformers' mixture-of-experts models by torch.ops.evomoe.expert_mlp."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from evomoe import ops

Model = TypeVar("Model", bound=nn.Module)

IMPLEMENTATION = "evomoe"
_ACTIVATIONS = {"SiLUActivation": "silu", "SiLU": "silu", "GELUActivation": "gelu", "GELUTanh": "gelu_tanh",
                "NewGELUActivation": "gelu_tanh", "ReLU": "relu"}


def _activation(experts: nn.Module) -> str | None:
    act = experts.act_fn
    name = type(act).__name__
    if name == "GELU":  # torch's own has its kind as an attribute
        return "gelu" if act.approximate == "none" else "gelu_tanh"
    return _ACTIVATIONS.get(name)


def _why_not(experts: nn.Module) -> str:
    """Why these experts cannot be replaced; empty: they can."""
    from transformers.integrations import moe

    if not experts.has_gate:
        return "its experts are not gated"
    if experts.has_bias:
        return "its experts have biases"
    if experts.is_transposed:
        return "its weights are transposed"
    if not experts.is_concatenated:
        return "gate and up projection are interleaved"
    if getattr(experts, "has_post_expert_norm", False):
        return "a norm follows its experts"
    if type(experts)._apply_gate is not moe._default_apply_gate:
        return "it has a gate of its own"
    if _activation(experts) is None:
        return f"the activation {type(experts.act_fn).__name__} is none of gelu, gelu_tanh, relu, silu"
    if experts.gate_up_proj.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        return f"its weights are {experts.gate_up_proj.dtype}"
    return ""


def _is_experts(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("has_gate", "has_bias", "is_transposed", "is_concatenated"))


def _forward(self: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    if self._is_expert_parallel:
        raise RuntimeError("evomoe.accelerate does not know transformers' expert parallelism; load the model without "
                           "it")
    token, place, offset = ops.assignments(top_k_index, self.num_experts)
    weight = top_k_weights.reshape(-1)[place].to(hidden_states.dtype)
    return ops.expert_mlp(hidden_states, token, weight, offset, self.gate_up_proj, self.down_proj,
                          activation=_activation(self), gate_up=True)


def accelerate(model: Model) -> Model:
    """Makes the experts of a transformers model (Mixtral, Qwen3-MoE, OLMoE and others whose experts are of that form)
    compute by torch.ops.evomoe.expert_mlp, forwards and backwards. Parameters, their names and saved files stay what
    they are; model.set_experts_implementation("grouped_mm") goes back. Returns the model. ValueError: it has no such
    experts, or some that the operator cannot compute."""
    try:
        from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
    except ImportError as error:
        raise ImportError("evomoe.accelerate needs transformers 5, whose experts can be replaced: "
                          "pip install 'transformers>=5'") from error
    experts = [(name, module) for name, module in model.named_modules() if _is_experts(module)]
    if not experts or not hasattr(model, "set_experts_implementation"):
        raise ValueError(f"{type(model).__name__} has no experts that transformers lets others compute (as those of "
                         "Mixtral, Qwen3-MoE and OLMoE)")
    for name, module in experts:
        why = _why_not(module)
        if why:
            raise ValueError(f"{name} ({type(module).__name__}) cannot be computed by evomoe: {why}")
    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _forward)
    model.set_experts_implementation(IMPLEMENTATION)
    return model
