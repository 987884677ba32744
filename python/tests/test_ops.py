"""torch.ops.evomoe.expert_mlp: values, gradients, and that torch's own checks of operators pass."""
import unittest

import torch

import evomoe
from problems import ACTIVATIONS, KINDS, Problem

OP = torch.ops.evomoe.expert_mlp.default


def call(problem, activation="gelu", recompute=False, **instead):
    return evomoe.expert_mlp(*problem.arguments(**instead), activation=activation, gate_up=problem.kind == "gate_up",
                             recompute=recompute)


class Values(unittest.TestCase):
    def test_it_is_the_sum_over_assignments(self):
        for kind in KINDS:
            for activation in ACTIVATIONS:
                for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
                    with self.subTest(kind=kind, activation=activation, dtype=dtype):
                        problem = Problem(kind, dtype)
                        torch.testing.assert_close(call(problem, activation), problem.reference(activation),
                                                   rtol=tolerance, atol=tolerance)

    def test_gradients_are_those_of_plain_operations(self):
        for kind in KINDS:
            for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
                for recompute in (False, True):
                    with self.subTest(kind=kind, dtype=dtype, recompute=recompute):
                        problem = Problem(kind, dtype)
                        ours, theirs = problem.requiring_gradients(), problem.requiring_gradients()
                        factor = torch.randn(problem.x.shape, dtype=dtype)
                        (call(problem, "silu", recompute, **ours) * factor).sum().backward()
                        (problem.reference("silu", **theirs) * factor).sum().backward()
                        for name in ours:
                            torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=tolerance,
                                                       atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")

    def test_frozen_experts_have_no_gradients_and_others_the_same(self):
        for kind in KINDS:
            for dtype in (torch.float32, torch.float64):
                with self.subTest(kind=kind, dtype=dtype):
                    problem = Problem(kind, dtype)
                    both = []
                    for trained in (("x", "weight"), tuple(problem.floats())):
                        inputs = {name: value.clone().requires_grad_(name in trained)
                                  for name, value in problem.floats().items()}
                        call(problem, **inputs).square().sum().backward()
                        self.assertEqual([name for name in inputs if inputs[name].grad is not None], list(trained))
                        both.append((inputs["x"].grad, inputs["weight"].grad))
                    torch.testing.assert_close(*both, rtol=0, atol=0)

    def test_gradcheck(self):
        """In float64, which plain operations compute; float32's kernels are compared with them above."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                problem = Problem(kind, T=4, D=3, H=2, E=3)
                inputs = problem.requiring_gradients()
                self.assertTrue(torch.autograd.gradcheck(
                    lambda *values: call(problem, "silu", **dict(zip(inputs, values))), tuple(inputs.values())))

    def test_many_rows_on_several_threads(self):
        problem = Problem("gate_up", torch.float32, T=300, D=16, H=24, E=5)
        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)
        torch.set_num_threads(2)
        torch.testing.assert_close(call(problem, "silu"), problem.reference("silu"), rtol=1e-3, atol=1e-3)

    def test_no_tokens_and_no_assignments(self):
        problem = Problem(dtype=torch.float32)
        none = torch.zeros(0, dtype=torch.int64)
        for x in (problem.x, problem.x[:0]):
            x = x.clone().requires_grad_()
            y = evomoe.expert_mlp(x, none, problem.weight[:0], torch.zeros_like(problem.offset), problem.w1, problem.w2)
            self.assertEqual(y.abs().sum(), 0)
            y.sum().backward()
            self.assertEqual(x.grad.abs().sum(), 0)

    def test_autocast_computes_in_float32(self):
        problem = Problem(dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            y = call(problem, x=problem.x.bfloat16())
        self.assertEqual(y.dtype, torch.float32)
        torch.testing.assert_close(y, call(problem, x=problem.x.bfloat16().float()))


class Operators(unittest.TestCase):
    def test_opcheck(self):
        for kind in KINDS:
            for dtype in (torch.float32, torch.float64):
                with self.subTest(kind=kind, dtype=dtype):
                    problem = Problem(kind, dtype)
                    inputs = problem.requiring_gradients()
                    torch.library.opcheck(OP, problem.arguments(**inputs),
                                          dict(activation="silu", gate_up=kind == "gate_up"), rtol=1e-4, atol=1e-4)

    def test_opcheck_without_gradients(self):
        torch.library.opcheck(OP, Problem(dtype=torch.float32).arguments())
        torch.library.opcheck(torch.ops.evomoe.assignments.default, (torch.tensor([[0, 2], [1, 2]]), 3))

    def test_compiled_as_one_graph(self):
        """Forwards and backwards, without a graph break; with another number of tokens as well."""
        torch._dynamo.reset()

        def layer(x, expert, weight, gate_up, down):
            token, place, offset = evomoe.ops.assignments(expert, 4)
            y = evomoe.expert_mlp(x * 2, token, weight.flatten()[place], offset, gate_up, down, activation="silu",
                                  gate_up=True)
            return torch.sin(y)

        compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
        for T in (6, 9):
            x = torch.randn(T, 8)
            expert = torch.stack([torch.randperm(4)[:2] for _ in range(T)])
            weight, gate_up, down = torch.rand(T, 2), torch.randn(4, 12, 8), torch.randn(4, 8, 6)
            gradients = []
            for function in (layer, compiled):
                leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, gate_up, down)]
                y = function(leaves[0], expert, *leaves[1:])
                y.square().sum().backward()
                gradients.append([y.detach(), *[leaf.grad for leaf in leaves]])
            for eager, of_compiled in zip(*gradients):
                torch.testing.assert_close(eager, of_compiled)


class Assignments(unittest.TestCase):
    def test_expert_by_expert_with_ascending_tokens(self):
        token, place, offset = evomoe.ops.assignments(torch.tensor([[2, 0], [1, 2], [0, 3]]), 4)
        self.assertEqual(offset.tolist(), [0, 2, 3, 5, 6])
        self.assertEqual(token.tolist(), [0, 2, 1, 0, 1, 2])
        self.assertEqual(place.tolist(), [1, 4, 2, 0, 3, 5])

    def test_wrong_experts_are_named(self):
        with self.assertRaisesRegex(RuntimeError, "token 1 has expert 4, but the experts are 0 to 3"):
            evomoe.ops.assignments(torch.tensor([[2, 0], [1, 4]]), 4)
        with self.assertRaisesRegex(RuntimeError, r"int64 \[T,K\], not Float"):
            evomoe.ops.assignments(torch.rand(2, 2), 4)


class BadInput(unittest.TestCase):
    def refused(self, message, activation="gelu", kind="plain", **instead):
        with self.assertRaisesRegex((RuntimeError, ValueError), message):
            call(Problem(kind, torch.float32), activation, **instead)

    def test_shapes(self):
        self.refused("input must be", x=torch.rand(7, 4))
        self.refused(r"with w1 \[4, 6, 5\] the experts need w2 \[4,5,6\]", w2=torch.rand(4, 6, 5))
        self.refused("there can be no w3", kind="gate_up", w3=torch.rand(4, 6, 5))
        self.refused(r"assignments must be tokens int64 \[A\]", weight=torch.rand(1))

    def test_types(self):
        self.refused("share one floating type.*Double", w1=torch.rand(4, 6, 5, dtype=torch.float64))
        self.refused("share one floating type", x=torch.ones(7, 5, dtype=torch.int64))

    def test_activation(self):
        self.refused("tanh", activation="tanh")

    def test_offsets_and_tokens(self):
        problem = Problem(dtype=torch.float32)
        for attribute, value, message in (("offset", problem.offset[:-1], "must be int64"),
                                          ("offset", problem.offset.flip(0), "must rise from 0"),
                                          ("token", problem.token + 5, "names token")):
            with self.subTest(message=message):
                bad = Problem(dtype=torch.float32)
                setattr(bad, attribute, value)
                with self.assertRaisesRegex(RuntimeError, message):
                    call(bad)

    def test_devices(self):
        self.refused("share one device, not meta, cpu and cpu", x=torch.rand(7, 5, device="meta"))

    def test_second_derivative(self):
        problem = Problem()
        inputs = problem.requiring_gradients()
        with self.assertRaisesRegex(RuntimeError, "cannot be differentiated twice"):
            torch.autograd.grad(call(problem, **inputs).sum(), inputs["x"], create_graph=True)


if __name__ == "__main__":
    unittest.main()
