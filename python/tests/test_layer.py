"""evomoe.MoELayer and evomoe.routers: they are modules like any other, and compute what is documented."""
import copy
import gc
import io
import pickle
import threading
import unittest
import weakref

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

import evomoe

# What a method needs beside its defaults.
NEEDS = {"hash": dict(vocab_size=50), "stablemoe": dict(vocab_size=50)}


def layer_of(method, **more):
    return evomoe.MoELayer(8, 12, 4, method, **{**NEEDS.get(method, {}), **more})


def context_of(tokens, **more):
    return evomoe.RoutingContext(token_id=torch.arange(tokens) % 50, **more)


class InTheMidst(TorchDispatchMode):
    """Calls a function before the first operation of torch."""

    def __init__(self, function):
        super().__init__()
        self.functions = [function]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.functions:
            self.functions.pop()()
        return func(*args, **(kwargs or {}))


class Layers(unittest.TestCase):
    def test_every_method_trains(self):
        for method in evomoe.routers.names():
            with self.subTest(method=method):
                layer = layer_of(method)
                adam = torch.optim.Adam(layer.parameters(), lr=1e-2)
                torch.manual_seed(1)
                x = torch.randn(2, 16, 8)
                losses = []
                for update in range(12):
                    output = layer(x, context_of(32, update=update))
                    loss = (output.y - x.abs()).square().mean()
                    losses.append(loss.item())
                    adam.zero_grad()
                    (loss + 0.01 * sum(output.losses.values())).backward()
                    adam.step()
                    evomoe.end_update(layer)
                self.assertLess(losses[-1], losses[0])
                self.assertEqual(layer.updates, 12)

    def test_a_method_that_watches_outputs_is_refused_and_not_listed(self):
        self.assertNotIn("default-moe", evomoe.routers.names())
        with self.assertRaisesRegex(ValueError, "default-moe watches"):
            layer_of("default-moe")

    def test_it_is_the_sum_over_chosen_experts(self):
        layer = evomoe.MoELayer(8, 12, 4, "topk", moe_k=2, activation="silu", gated=True, biases=False,
                                moe_train_capacity_token_fraction=0.0)
        x = torch.randn(5, 8)
        probability = torch.softmax(x @ layer.gate.wg.weight.T, 1)
        top, chosen = probability.topk(2)
        expected = torch.zeros_like(x)
        e = layer.experts
        for t in range(5):
            for weight, expert in zip(top[t] / top[t].sum(), chosen[t]):
                hidden = torch.nn.functional.silu(e.w1[expert] @ x[t]) * (e.w3[expert] @ x[t])
                expected[t] += weight * (e.w2[expert] @ hidden)
        output = layer(x)
        torch.testing.assert_close(output.y, expected)
        self.assertEqual(output.stats.assignments, 10)
        self.assertEqual(output.stats.load.sum(), 10)

    def test_names_and_first_values_are_keyed_by_seed_and_layer(self):
        self.assertEqual(set(layer_of("topk").state_dict()),
                         {"gate.wg.weight", "experts.w1", "experts.b1", "experts.w2", "experts.b2"})

        def weights(**keys):
            return layer_of("topk", **keys).state_dict()

        first, same, other = weights(), weights(), weights(layer=1)
        for name, value in first.items():
            self.assertTrue(torch.equal(value, same[name]), name)
            self.assertFalse(torch.equal(value, other[name]), name)

    def test_noise_is_a_function_of_the_update(self):
        layer = layer_of("dts")
        x = torch.randn(2, 16, 8)

        def y(update):
            return layer(x, evomoe.RoutingContext(update=update, temperature=1.0, hard=True)).y

        self.assertTrue(torch.equal(y(3), y(3)))
        self.assertFalse(torch.equal(y(3), y(4)))
        layer.eval()
        self.assertTrue(torch.equal(y(3), y(4)))

    def test_noise_is_that_of_the_layer_unless_the_context_says_which(self):
        layer, other = layer_of("dts"), layer_of("dts", seed=2)
        other.load_state_dict(layer.state_dict())
        x = torch.randn(2, 16, 8)

        def y(layer, **context):
            return layer(x, evomoe.RoutingContext(temperature=1.0, hard=True, **context)).y

        first = y(layer)
        self.assertTrue(torch.equal(first, y(layer, update=0, seed=1)))
        self.assertTrue(torch.equal(y(other), y(layer, seed=2)))
        self.assertFalse(torch.equal(y(other), first))
        evomoe.end_update(layer)
        self.assertFalse(torch.equal(y(layer), first))
        self.assertTrue(torch.equal(y(layer, update=0), first))

    def test_statistics_keep_no_graph(self):
        layer = layer_of("topk")
        routing = layer.gate(torch.randn(4, 8))
        stats, kept = routing.stats, weakref.ref(routing)
        del routing
        self.assertIsNone(kept())
        self.assertEqual(stats.tokens, 4)

    def test_an_update_of_another_thread_waits_for_a_pass(self):
        gate, x = layer_of("sigmoid").gate, torch.randn(4, 8)
        stats = gate(x).stats
        for name, call in (("begin_update", gate.begin_update), ("end_update", lambda: gate.end_update(stats))):
            with self.subTest(name):
                done, early = threading.Event(), []
                thread = threading.Thread(target=lambda call=call, done=done: (call(), done.set()))

                def meanwhile(thread=thread, done=done, early=early):
                    thread.start()
                    early.append(done.wait(0.2))

                with InTheMidst(meanwhile):
                    gate(x)
                self.assertEqual(early, [False])
                self.assertTrue(done.wait(60))
                thread.join()

    def test_padding_has_no_expert(self):
        layer = layer_of("topk")
        valid = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
        output = layer(torch.randn(2, 6, 8), evomoe.RoutingContext(valid=valid))
        self.assertEqual(output.stats.tokens, 8)
        self.assertEqual(output.y[1, 2:].abs().sum(), 0)


class Modules(unittest.TestCase):
    def assert_same(self, layer, other):
        for name, value in layer.state_dict().items():
            self.assertTrue(torch.equal(value, other.state_dict()[name]), name)
        x = torch.randn(3, 8, dtype=next(layer.parameters()).dtype)
        torch.testing.assert_close(layer(x).y, other(x).y, rtol=0, atol=0)

    def moved(self, method="sigmoid"):
        """A layer that has trained: its bias, a buffer, has moved."""
        layer = layer_of(method)
        sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.randn(2, 8, 8), context_of(16)).y.sum().backward()
        sgd.step()
        evomoe.end_update(layer)
        return layer

    def test_parameters_are_parameters(self):
        layer = layer_of("topk")
        self.assertTrue(all(isinstance(p, torch.nn.Parameter) and p.requires_grad for p in layer.parameters()))
        self.assertEqual(len(list(layer.parameters())), 5)

    def test_the_router_sees_what_the_optimiser_does(self):
        layer = layer_of("topk", moe_train_capacity_token_fraction=0.0)
        x = torch.randn(6, 8)
        before = layer(x).stats.load.clone()
        with torch.no_grad():
            layer.gate.wg.weight.zero_()
            layer.gate.wg.weight[3], layer.gate.wg.weight[2] = 100 * x[0], 100 * x[0]
        self.assertFalse(torch.equal(layer(x[:1]).stats.load, before))
        self.assertEqual(layer(x[:1]).stats.load.tolist(), [0, 0, 1, 1])

    def test_pickle(self):
        layer = self.moved().eval()
        again = pickle.loads(pickle.dumps(layer))
        self.assert_same(layer, again)
        self.assertFalse(again.training)
        self.assertEqual(again.updates, 1)
        with torch.no_grad():  # the copy has a router of its own, which sees its own weights
            again.gate.wg.weight.mul_(-1)
        self.assertFalse(torch.equal(layer.gate.wg.weight, again.gate.wg.weight))
        x = torch.randn(3, 8)
        self.assertFalse(torch.equal(layer(x).y, again(x).y))

    def test_torch_save_and_deepcopy(self):
        layer = self.moved()
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        self.assert_same(layer, torch.load(file, weights_only=False))
        self.assert_same(layer, copy.deepcopy(layer))

    def test_frozen_parameters_stay_frozen(self):
        layer = layer_of("topk")
        layer.gate.wg.weight.requires_grad_(False)
        self.assertFalse(copy.deepcopy(layer).gate.wg.weight.requires_grad)

    def test_state_dict_into_another(self):
        layer = self.moved()
        for assign in (False, True):
            with self.subTest(assign=assign):
                other = layer_of("sigmoid", seed=2)
                other.load_state_dict(layer.state_dict(), assign=assign)
                self.assert_same(layer, other)

    def test_to_float64_and_back(self):
        layer = self.moved().double()
        self.assertEqual({p.dtype for p in layer.parameters()}, {torch.float64})
        x = torch.randn(4, 8, dtype=torch.float64)
        y = layer(x).y
        self.assertEqual(y.dtype, torch.float64)
        torch.testing.assert_close(layer.float()(x.float()).y, y.float(), rtol=1e-4, atol=1e-5)

    def test_end_update_moves_a_bias(self):
        layer = layer_of("sigmoid")
        bias = next(layer.gate.buffers()).clone()
        layer(torch.randn(2, 8, 8))
        evomoe.end_update(layer)
        self.assertFalse(torch.equal(next(layer.gate.buffers()), bias))


def assigned(layer):
    layer.load_state_dict({name: value.clone() for name, value in layer.state_dict().items()}, assign=True)
    return layer


def converted(layer):
    """To a type by new parameters, as torch does it for some devices."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return layer.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def replaced_by_hand(layer):
    for module in layer.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach().clone()))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.clone())
    return layer


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


class Replaced(unittest.TestCase):
    """Other tensors in the place of a router's: it computes with those that the module has now, and trains them."""

    WAYS = {"load_state_dict(assign=True)": assigned, "double()": nn.Module.double, "new parameters": converted,
            "by hand": replaced_by_hand, "deepcopy": copy.deepcopy,
            "pickle": lambda layer: pickle.loads(pickle.dumps(layer))}

    def test_what_an_optimiser_has_is_what_trains(self):
        for method in ("topk", "sigmoid", "moepp", "longcat", "stablemoe"):
            for way, replace in self.WAYS.items():
                with self.subTest(method=method, way=way):
                    torch.manual_seed(1)
                    layer = replace(layer_of(method))
                    dtype = layer.experts.w1.dtype
                    plain = layer_of(method, seed=2).to(dtype)
                    plain.load_state_dict(layer.state_dict())
                    x = torch.randn(2, 8, 8, dtype=dtype)
                    before = layer.gate.wg.weight.clone()
                    for one in (layer, plain):
                        sgd = torch.optim.SGD(one.parameters(), lr=0.1)
                        for update in range(2):
                            output = one(x, context_of(16, update=update, seed=1))
                            sgd.zero_grad()
                            (output.y.square().sum() + sum(output.losses.values())).backward()
                            sgd.step()
                            evomoe.end_update(one)
                    self.assertFalse(torch.equal(layer.gate.wg.weight, before))
                    for name, value in plain.state_dict().items():
                        torch.testing.assert_close(layer.state_dict()[name], value,
                                                   msg=lambda text, name=name: f"{name}: {text}")

    def test_a_parametrization(self):
        layer, plain = layer_of("topk"), layer_of("topk")
        with torch.no_grad():
            plain.gate.wg.weight.mul_(2)
        parametrize.register_parametrization(layer.gate.wg, "weight", Doubled())
        x = torch.randn(2, 8, 8)
        expected = plain(x).y
        expected.square().sum().backward()
        for one in (layer, copy.deepcopy(layer)):
            y = one(x).y
            torch.testing.assert_close(y, expected)
            y.square().sum().backward()
            torch.testing.assert_close(one.gate.wg.parametrizations.weight.original.grad,
                                       2 * plain.gate.wg.weight.grad)

    def test_functional_call_between_two_passes(self):
        """Each pass has the gradients of its own weights, although another one came before its backward pass."""
        layer, other = layer_of("topk"), layer_of("topk", seed=2)
        given = {name: value.detach().clone().requires_grad_() for name, value in other.named_parameters()}
        x = torch.randn(2, 8, 8, requires_grad=True)
        first = layer(x).y.square().sum()
        second = torch.func.functional_call(layer, given, (x,)).y.square().sum()
        (first + second).backward()
        alone = x.detach().clone().requires_grad_()
        (layer_of("topk")(alone).y.square().sum() + other(alone).y.square().sum()).backward()
        torch.testing.assert_close(x.grad, alone.grad)
        for name, value in other.named_parameters():
            torch.testing.assert_close(given[name].grad, value.grad)

    def test_what_was_given_goes_with_the_results(self):
        layer, x = layer_of("topk"), torch.randn(2, 8, 8)
        scale = torch.ones((), requires_grad=True)

        def call(x):
            given = {name: value.detach() * scale for name, value in layer.named_parameters()}
            kept = [weakref.ref(tensor) for tensor in given.values()]
            return torch.func.functional_call(layer, given, (x,)), kept

        output, kept = call(x)
        output.y.sum().backward()
        self.assertNotEqual(scale.grad.item(), 0)
        del output
        gc.collect()
        self.assertEqual([each() for each in kept], [None] * len(kept))

    def test_what_was_given_goes_with_a_call_that_fails(self):
        gate = layer_of("topk").gate
        scale = torch.ones((), requires_grad=True)
        given = {name: value.detach() * scale for name, value in gate.named_parameters()}
        kept = [weakref.ref(tensor) for tensor in given.values()]
        with self.assertRaisesRegex(Exception, "made for rows of 8 features"):
            torch.func.functional_call(gate, given, (torch.randn(2, 7),))
        del given
        gc.collect()
        self.assertEqual([each() for each in kept], [None] * len(kept))


class Options(unittest.TestCase):
    def test_names_defaults_and_help(self):
        names = evomoe.routers.names()
        self.assertIn("dts", names)
        self.assertEqual(names, sorted(names))
        by_name = {option.name: option for option in evomoe.routers.options("topk")}
        self.assertEqual(by_name["moe_k"].default, 2)
        self.assertIn("Experts per token", by_name["moe_k"].help)

    def test_errors(self):
        for message, method, options in (("unknown method; allowed are base", "topq", {}),
                                         ("topk has no option moe_kk .did you mean moe_k.", "topk", dict(moe_kk=2)),
                                         ("topk has no option switch_jitter", "topk", dict(switch_jitter=0.1)),
                                         ("moe_k.*0", "topk", dict(moe_k=0)),
                                         ("moe_k", "topk", dict(moe_k="two")),
                                         ("--moe-k 9|at most|experts", "topk", dict(moe_k=9))):
            with self.subTest(message=message):
                with self.assertRaisesRegex(ValueError, message):
                    layer_of(method, **options)
        with self.assertRaisesRegex(TypeError, "not complex"):
            layer_of("topk", moe_k=2j)

    def test_shapes(self):
        layer = layer_of("topk")
        with self.assertRaisesRegex(ValueError, r"takes \[tokens, 8\] or \[batch, sequence, 8\], not \[3, 7\]"):
            layer(torch.rand(3, 7))
        with self.assertRaisesRegex(ValueError, "valid has 2 entries for 3 tokens"):
            layer(torch.rand(3, 8), evomoe.RoutingContext(valid=torch.tensor([True, False])))


if __name__ == "__main__":
    unittest.main()
