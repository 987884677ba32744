"""Tiny models of transformers for huggingface_test.cpp.

make FOLDER: writes tiny random models, one a folder, each with tokens.safetensors, the logits that transformers makes
of some tokens.
logits FOLDER TOKENS: loads a model and writes its logits of the tokens to FOLDER/logits.safetensors.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

SMALL = dict(vocab_size=41, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)
LLAMA3 = dict(rope_type='llama3', rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
LINEAR = dict(rope_type='linear', rope_theta=10000.0, factor=2.0)
EXPERTS = dict(num_experts_per_tok=2)

MODELS = {
    'llama': ('Llama', dict(SMALL)),
    'llama_tied': ('Llama', dict(SMALL, tie_word_embeddings=True, rope_parameters=LLAMA3)),
    'llama_biases': ('Llama', dict(SMALL, attention_bias=True, rope_parameters=LINEAR, hidden_act='gelu')),
    'llama_heads': ('Llama', dict(SMALL, head_dim=8, num_key_value_heads=1, rms_norm_eps=1e-3)),
    'mistral': ('Mistral', dict(SMALL, sliding_window=5)),
    'qwen2': ('Qwen2', dict(SMALL)),
    'qwen3': ('Qwen3', dict(SMALL, head_dim=10)),
    'mixtral': ('Mixtral', dict(SMALL, **EXPERTS, num_local_experts=4)),
    'mixtral_window': ('Mixtral', dict(SMALL, **EXPERTS, num_local_experts=4, sliding_window=4)),
    'olmoe': ('Olmoe', dict(SMALL, **EXPERTS, num_experts=5)),
    'olmoe_normalized': ('Olmoe', dict(SMALL, num_experts_per_tok=3, num_experts=5, norm_topk_prob=True)),
    'qwen3_moe': ('Qwen3Moe', dict(SMALL, **EXPERTS, num_experts=6, moe_intermediate_size=16, head_dim=8)),
    'qwen3_moe_dense_layers': ('Qwen3Moe', dict(SMALL, **EXPERTS, num_experts=4, moe_intermediate_size=16, head_dim=8,
                                                norm_topk_prob=True, mlp_only_layers=[0], use_sliding_window=True,
                                                sliding_window=6)),
    'qwen3_moe_every_other': ('Qwen3Moe', dict(SMALL, **EXPERTS, num_experts=4, moe_intermediate_size=40,
                                               decoder_sparse_step=2)),
}


def logits_of(model, tokens):
    model.eval()
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits.float().contiguous()


def randomize(model):
    """Initial values are so small that a wrong router or norm would hardly show."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
            elif name.endswith('norm.weight'):
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 0.3)


def save(model, folder, **how):
    model.save_pretrained(folder, **how)
    tokens = torch.randint(0, SMALL['vocab_size'], (2, 13))
    save_file({'tokens': tokens, 'logits': logits_of(model, tokens)}, str(folder / 'expected.safetensors'))


def make(root):
    for number, (name, (kind, options)) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        config = getattr(transformers, kind + 'Config')(**options)
        model = getattr(transformers, kind + 'ForCausalLM')(config)
        randomize(model)
        save(model, root / name)
        if name in ('llama', 'mixtral', 'qwen3_moe'):
            save(model, root / (name + '_sharded'), max_shard_size='20KB')
        if name in ('mixtral', 'olmoe', 'qwen3_moe'):
            # The tensors as version 5 holds them.
            fused = root / (name + '_fused')
            save(model, fused)
            save_file({key: value.contiguous() for key, value in model.state_dict().items()},
                      str(fused / 'model.safetensors'), metadata={'format': 'pt'})
        if name in ('llama', 'olmoe'):
            for dtype in (torch.bfloat16, torch.float16):
                half = getattr(transformers, kind + 'ForCausalLM')(config)
                half.load_state_dict(model.state_dict())
                folder = root / f'{name}_{str(dtype).split(".")[1]}'
                half.to(dtype).save_pretrained(folder)
                # What the rounded weights give in float32, with frequencies that are not rounded.
                whole = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
                tokens = torch.randint(0, SMALL['vocab_size'], (2, 13))
                save_file({'tokens': tokens, 'logits': logits_of(whole, tokens)},
                          str(folder / 'expected.safetensors'))
    # As before version 5.
    old = root / 'llama_tied_old_config'
    torch.manual_seed(1)
    config = transformers.LlamaConfig(**MODELS['llama_tied'][1])
    model = transformers.LlamaForCausalLM(config)
    randomize(model)
    save(model, old)
    fields = json.loads((old / 'config.json').read_text())
    rope = fields.pop('rope_parameters')
    fields['rope_theta'] = rope.pop('rope_theta')
    fields['rope_scaling'] = rope
    (old / 'config.json').write_text(json.dumps(fields))


def logits(folder, tokens):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = logits_of(model, load_file(tokens)['tokens'])
    save_file({'logits': found}, str(pathlib.Path(folder) / 'logits.safetensors'))


if __name__ == '__main__':
    if sys.argv[1] == 'make':
        make(pathlib.Path(sys.argv[2]))
    else:
        for folder in sys.argv[3:]:
            logits(folder, sys.argv[2])
