"""The experts of a transformers model by evomoe.accelerate beside its own grouped_mm and eager loops, in one process,
turn by turn: milliseconds (medians) of the forward pass and of both passes, and how many times faster ours are.

    python python/benchmarks/experts.py --experts 8 64 --threads 2
"""
import argparse
import statistics
import time

import torch
import transformers

import evomoe


def experts_of(experts, args):
    config = transformers.MixtralConfig(
        hidden_size=args.hidden, intermediate_size=args.ffn, num_local_experts=experts, num_experts_per_tok=args.k,
        num_hidden_layers=1, num_attention_heads=8, num_key_value_heads=8, vocab_size=64)
    model = transformers.MixtralForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return evomoe.accelerate(model), model.model.layers[0].mlp.experts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--ffn", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--k", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}; hidden {args.hidden}, ffn {args.ffn}, "
          f"{args.tokens} tokens, k {args.k}, float32, {args.threads} threads")
    print(f"{'experts':>7} {'pass':>8} {'evomoe':>9} {'grouped_mm':>11} {'eager':>9} {'grouped_mm/ours':>16} "
          f"{'eager/ours':>11}")
    for experts in args.experts:
        model, module = experts_of(experts, args)
        x = torch.randn(args.tokens, args.hidden)
        weight, index = torch.softmax(torch.randn(args.tokens, experts), 1).topk(args.k)

        def run(implementation, backward):
            model.set_experts_implementation(implementation)
            model.zero_grad()
            leaf = x.clone().requires_grad_(backward)
            begin = time.perf_counter()
            with torch.set_grad_enabled(backward):
                y = module(leaf, index, weight)
                if backward:
                    y.sum().backward()
            return 1000 * (time.perf_counter() - begin), y.detach()

        for backward in (False, True):
            times = {"evomoe": [], "grouped_mm": [], "eager": []}
            results = {name: run(name, backward)[1] for name in times}  # warm
            for name, y in results.items():
                torch.testing.assert_close(y, results["eager"], rtol=1e-4, atol=1e-5)
            for _ in range(args.rounds):
                for name, list_of in times.items():
                    list_of.append(run(name, backward)[0])
            ms = {name: statistics.median(list_of) for name, list_of in times.items()}
            print(f"{experts:7} {'both' if backward else 'forward':>8} {ms['evomoe']:9.1f} {ms['grouped_mm']:11.1f} "
                  f"{ms['eager']:9.1f} {ms['grouped_mm'] / ms['evomoe']:15.2f}x {ms['eager'] / ms['evomoe']:10.2f}x")


if __name__ == "__main__":
    main()
