"""Random experts and assignments for the tests, and what the operator computes, written with plain operations."""
import torch
import torch.nn.functional as F

ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu, "silu": F.silu}


class Problem:
    """T tokens, of which some have no expert and some several; the last expert has none."""

    def __init__(self, kind="plain", dtype=torch.float64, T=7, D=5, H=6, E=4, seed=1):
        generator = torch.Generator().manual_seed(seed)

        def randn(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        selected = torch.rand(T, E, generator=generator) < 0.5
        selected[2], selected[:, -1] = False, False
        expert, token = selected.T.nonzero(as_tuple=True)
        self.token = token.contiguous()
        self.offset = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(expert, minlength=E).cumsum(0)])
        self.kind, self.expert, self.E, self.T = kind, expert, E, T
        self.x, self.weight = randn(T, D), randn(len(token))
        self.w1, self.w2 = randn(E, 2 * H if kind == "gate_up" else H, D), randn(E, D, H)
        self.w3 = randn(E, H, D) if kind == "gated" else None
        biases = kind == "plain"
        self.b1, self.b2 = (randn(E, H), randn(E, D)) if biases else (None, None)

    def floats(self):
        """What has a gradient, by its name."""
        return {name: value for name in ("x", "weight", "w1", "w2", "b1", "b2", "w3")
                if (value := getattr(self, name)) is not None}

    def arguments(self, **instead):
        of = {**{name: getattr(self, name) for name in ("x", "weight", "w1", "w2", "b1", "b2", "w3")}, **instead}
        return of["x"], self.token, of["weight"], self.offset, of["w1"], of["w2"], of["b1"], of["b2"], of["w3"]

    def requiring_gradients(self):
        return {name: value.clone().requires_grad_() for name, value in self.floats().items()}

    def reference(self, activation="gelu", **instead):
        x, token, weight, _, w1, w2, b1, b2, w3 = self.arguments(**instead)
        if self.kind == "gate_up":
            w1, w3 = w1.chunk(2, dim=1)
        y = torch.zeros_like(x)
        for a, (t, e) in enumerate(zip(token.tolist(), self.expert.tolist())):
            hidden = ACTIVATIONS[activation](w1[e] @ x[t] + (0 if b1 is None else b1[e]))
            if w3 is not None:
                hidden = hidden * (w3[e] @ x[t])
            y = y.index_add(0, token[a:a + 1], (weight[a] * (w2[e] @ hidden + (0 if b2 is None else b2[e])))[None])
        return y


KINDS = ("plain", "gated", "gate_up")
