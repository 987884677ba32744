#!/usr/bin/env python3
"""Greedy generation by Hugging Face transformers: the other side of `evomoe bench generate`.

Needs torch, transformers and the folder of the peers, whose model sizes, clock and memory meter it takes. Prints one
JSON line per model in the peers' form.
"""

import argparse
import json
import sys
from dataclasses import replace

PROMPT_STREAM = 100000


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", required=True, help="folder of the peer benchmarks")
    parser.add_argument("--models", default="olmoe:eager,mixtral:eager,gpt2",
                        help="family:experts kernel (olmoe, mixtral), or gpt2 for the dense model")
    parser.add_argument("--suite", default="small", help="sizes, by the peers' names")
    parser.add_argument("--prompt-len", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    return parser.parse_args()


def dense_model(sizes):
    """The dense model of `sizes`: every layer with biases and exact GELU, learned positions, tied embeddings."""
    from transformers import GPT2Config, GPT2LMHeadModel
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=sizes.vocab, n_positions=sizes.seq, n_embd=sizes.dim, n_layer=sizes.layers, n_head=sizes.heads,
        n_inner=sizes.ffn, activation_function="gelu", bos_token_id=None, eos_token_id=None, pad_token_id=None))


def main():
    args = parse_arguments()
    sys.path.insert(0, args.peers)
    import torch
    import peer_common
    from bench_step import SUITES, HuggingFaceLm

    sizes = replace(SUITES[args.suite], batch=1)
    device = torch.device("cpu")
    prompt = peer_common.hash_tokens(PROMPT_STREAM, (1, args.prompt_len), sizes.vocab)
    for name in args.models.split(","):
        torch.manual_seed(0)
        memory = peer_common.PeakMemory(device)
        if name == "gpt2":
            model = dense_model(sizes)
        else:
            family, kernel = name.split(":")
            model = HuggingFaceLm(sizes, family, kernel).model
        model.eval()

        def action(model=model):
            with torch.inference_mode():
                text = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=args.new_tokens,
                                      min_new_tokens=args.new_tokens, do_sample=False, use_cache=True)
            if text.shape[1] != args.prompt_len + args.new_tokens:
                raise SystemExit(f"{name}: {text.shape[1] - args.prompt_len} tokens came, not {args.new_tokens}")

        peer_common.measure(action, device, args.warmup)
        memory.restart_peak()
        timing = peer_common.measure(action, device, args.repeats)
        print(json.dumps({
            "impl": f"hf_{name}", "case": f"{sizes.label}-prompt{args.prompt_len}-new{args.new_tokens}",
            "ms_median": round(timing.median, 3), "ms_min": round(timing.minimum, 3), "gflops": None,
            "sgemm_fraction": None, "tokens_per_s": round(1e3 * args.new_tokens / timing.median, 1),
            "peak_mem_mb": round(memory.peak_mb(), 1), "threads": torch.get_num_threads(), "device": "cpu",
            "dtype": "fp32", "checksum": None, "torch": torch.__version__, "repeats": len(timing.samples_ms),
            "parameters": sum(parameter.numel() for parameter in model.parameters())}), flush=True)


if __name__ == "__main__":
    main()
