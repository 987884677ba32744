"""Writes gated_experts.json: gated experts as PyTorch computes them, with all gradients.

An expert is the feed-forward network of Mixtral (w1: gate, w3: up, w2: down) with SiLU (SwiGLU) or GELU (GEGLU),
once with biases of w1 and w2 as well. In float64, from inputs that float32 holds exactly.

    .venv/bin/python tests/golden/make_gated_experts.py tests/golden/gated_experts.json
"""
import json
import sys

import torch
from torch import nn

TOKENS, DIM, HIDDEN, EXPERTS, TOPK = 11, 6, 10, 4, 2
IDLE = 2  # an expert that no token uses


class Expert(nn.Module):
    def __init__(self, activation, biases):
        super().__init__()
        self.w1 = nn.Linear(DIM, HIDDEN, bias=biases)
        self.w2 = nn.Linear(HIDDEN, DIM, bias=biases)
        self.w3 = nn.Linear(DIM, HIDDEN, bias=False)
        self.activation = activation

    def forward(self, x):
        return self.w2(self.activation(self.w1(x)) * self.w3(x))


def exact(tensor):
    """Rounded to what a float32 and nine digits hold."""
    return (tensor * 1024).round() / 1024


def written(tensor):
    tensor = tensor.detach().double()
    data = [float(f"{v:.9g}") for v in tensor.flatten().tolist()]
    return {"shape": list(tensor.shape), "dtype": "float", "data": data}


def case(name, activation, biases, seed):
    torch.manual_seed(seed)
    experts = nn.ModuleList(Expert(activation, biases) for _ in range(EXPERTS)).double()
    for parameter in experts.parameters():
        parameter.data = exact(torch.randn_like(parameter) * 0.5)
    x = exact(torch.randn(TOKENS, DIM, dtype=torch.float64)).requires_grad_()
    upstream = exact(torch.randn(TOKENS, DIM, dtype=torch.float64))
    logits = torch.randn(TOKENS, EXPERTS, dtype=torch.float64)
    logits[:, IDLE] = -100
    value, chosen = logits.softmax(1).topk(TOPK)
    weight = exact(value / value.sum(1, keepdim=True)).requires_grad_()

    y = torch.zeros_like(x)
    for e, expert in enumerate(experts):
        token, place = (chosen == e).nonzero(as_tuple=True)
        y = y.index_add(0, token, weight[token, place, None] * expert(x[token]))
    (y * upstream).sum().backward()

    names = {"w1.weight": "w1", "w2.weight": "w2", "w3.weight": "w3", "w1.bias": "b1", "w2.bias": "b2"}
    weights, gradients = {}, {}
    for theirs, _ in experts[0].named_parameters():
        of_all = [expert.get_parameter(theirs) for expert in experts]
        weights[names[theirs]] = written(torch.stack(of_all))
        gradients[names[theirs]] = written(
            torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in of_all]))
    return {"name": name, "activation": name.split(":")[0], "biases": biases, "chosen": chosen.tolist(),
            "x": written(x), "weight": written(weight), "upstream": written(upstream), "weights": weights,
            "y": written(y), "grad_x": written(x.grad), "grad_weight": written(weight.grad), "gradients": gradients}


def main():
    gelu, silu = nn.GELU(), nn.SiLU()
    cases = [case("silu: SwiGLU", silu, False, 1), case("gelu: GEGLU", gelu, False, 2),
             case("silu: SwiGLU with biases", silu, True, 3)]
    with open(sys.argv[1], "w") as file:
        file.write(json.dumps({"torch": torch.__version__, "experts": EXPERTS, "cases": cases}) + "\n")


main()
