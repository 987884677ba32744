"""evomoe.accelerate: transformers' models give the same outputs and gradients."""
import unittest

import torch

import evomoe

try:
    import transformers
except ImportError:
    transformers = None

TINY = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=32)
MOE = dict(num_experts=4, num_experts_per_tok=2)


def models():
    t = transformers
    yield t.MixtralForCausalLM, t.MixtralConfig(**TINY, num_local_experts=4, num_experts_per_tok=2)
    yield t.Qwen3MoeForCausalLM, t.Qwen3MoeConfig(**TINY, **MOE, moe_intermediate_size=12, head_dim=8)
    yield t.OlmoeForCausalLM, t.OlmoeConfig(**TINY, **MOE)


@unittest.skipIf(transformers is None, "transformers is not installed")
class Models(unittest.TestCase):
    def test_outputs_and_gradients_are_the_same(self):
        ids = torch.arange(24).reshape(2, 12)
        for architecture, config in models():
            with self.subTest(architecture=architecture.__name__):
                torch.manual_seed(1)
                model = architecture(config)
                for parameter in model.parameters():
                    torch.nn.init.normal_(parameter, std=0.2)
                results = []
                for implementation in ("eager", "evomoe"):
                    if implementation == "evomoe":
                        self.assertIs(evomoe.accelerate(model), model)
                    else:
                        model.set_experts_implementation(implementation)
                    model.zero_grad()
                    output = model(ids, labels=ids)
                    output.loss.backward()
                    results.append((output.logits.detach(), {n: p.grad for n, p in model.named_parameters()}))
                self.assertEqual(model.config._experts_implementation, "evomoe")
                torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
                for name, gradient in results[0][1].items():
                    torch.testing.assert_close(gradient, results[1][1][name], rtol=1e-3, atol=1e-5,
                                               msg=lambda text, name=name: f"{name}: {text}")

    def test_generation_and_the_way_back(self):
        architecture, config = next(models())
        torch.manual_seed(1)
        model = architecture(config).eval()
        ids = torch.arange(1, 9).reshape(1, 8)

        def generated():
            return model.generate(ids, max_new_tokens=8, do_sample=False).tolist()

        theirs = generated()
        self.assertEqual(generated(), theirs)
        evomoe.accelerate(model)
        self.assertEqual(generated(), theirs)
        names = set(model.state_dict())
        model.set_experts_implementation("eager")
        self.assertEqual(set(model.state_dict()), names)
        self.assertEqual(model.config._experts_implementation, "eager")

    def test_the_experts_are_one_graph(self):
        torch._dynamo.reset()
        architecture, config = next(models())
        experts = evomoe.accelerate(architecture(config)).model.layers[0].mlp.experts
        x, index, weight = torch.randn(6, 16), torch.stack([torch.randperm(4)[:2] for _ in range(6)]), torch.rand(6, 2)
        compiled = torch.compile(experts, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x, index, weight), experts(x, index, weight))

    def test_what_cannot_be_replaced_is_refused(self):
        with self.assertRaisesRegex(ValueError, "Linear has no experts"):
            evomoe.accelerate(torch.nn.Linear(2, 2))
        llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**TINY))
        with self.assertRaisesRegex(ValueError, "LlamaForCausalLM has no experts"):
            evomoe.accelerate(llama)
        oss = transformers.GptOssForCausalLM(transformers.GptOssConfig(**TINY, head_dim=8, num_local_experts=4,
                                                                       num_experts_per_tok=2))
        message = "experts .GptOssExperts. cannot be computed by evomoe: its experts have biases"
        with self.assertRaisesRegex(ValueError, message):
            evomoe.accelerate(oss)
        architecture, config = next(models())
        config.hidden_act = "quick_gelu"
        with self.assertRaisesRegex(ValueError, "QuickGELUActivation is none of gelu"):
            evomoe.accelerate(architecture(config))


if __name__ == "__main__":
    unittest.main()
