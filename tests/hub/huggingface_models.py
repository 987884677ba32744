"""Tiny models of transformers for the tests of this folder.

make FOLDER: writes tiny random models, one a folder, each with expected.safetensors: some tokens, and what transformers
makes of them (answers()).
answer TOKENS FOLDER...: loads models, also such with code of their own, and writes what they make of the tokens to
FOLDER/answers.safetensors. Each is saved and loaded again, which must not change it.
"""
import inspect
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
GPT2 = dict(vocab_size=41, n_embd=24, n_layer=3, n_head=4, n_positions=64)
XGLM = dict(vocab_size=41, d_model=24, ffn_dim=40, num_layers=3, attention_heads=4, max_position_embeddings=64)
BIOGPT = dict(vocab_size=41, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
              max_position_embeddings=64)

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
    'qwen2_moe': ('Qwen2Moe', dict(SMALL, **EXPERTS, num_experts=4, moe_intermediate_size=16, decoder_sparse_step=2,
                                   shared_expert_intermediate_size=12, qkv_bias=False)),
    'qwen2_moe_no_shared': ('Qwen2Moe', dict(SMALL, **EXPERTS, num_experts=4, moe_intermediate_size=16,
                                             norm_topk_prob=True, shared_expert_intermediate_size=0)),
    'xglm': ('XGLM', dict(XGLM)),
    'xglm_untied': ('XGLM', dict(XGLM, tie_word_embeddings=False, scale_embedding=False, activation_function='relu')),
    'biogpt': ('BioGpt', dict(BIOGPT)),
    'gpt2': ('GPT2', dict(GPT2)),
    'gpt2_untied': ('GPT2', dict(GPT2, n_inner=40, activation_function='gelu', tie_word_embeddings=False,
                                 layer_norm_epsilon=1e-3)),
}


def answers(model, tokens):
    """Logits of tokens [2, 13]: as they are, with the end of the second row as padding, and with a cache; then what is
    generated after the first tokens of the first row."""
    model.eval()
    mask = torch.ones_like(tokens)
    mask[1, -4:] = 0
    name = 'cache' if 'cache' in inspect.signature(model.forward).parameters else 'past_key_values'
    with torch.no_grad():
        found = {'logits': model(input_ids=tokens, use_cache=False).logits,
                 'padded': model(input_ids=tokens, attention_mask=mask, use_cache=False).logits}
        output = model(input_ids=tokens[:, :5], use_cache=True)
        parts = [output.logits]
        for i in range(5, tokens.shape[1]):
            output = model(input_ids=tokens[:, i:i + 1], use_cache=True, **{name: output[name]})
            parts.append(output.logits)
        found['cached'] = torch.cat(parts, dim=1)
        model.generation_config.eos_token_id = None
        generated = model.generate(tokens[:1, :6], attention_mask=mask[:1, :6], do_sample=False, max_new_tokens=12,
                                   pad_token_id=1)
    found = {key: value.float().contiguous() for key, value in found.items()}
    return dict(found, generated=generated)


def randomize(model):
    """Initial values are so small that a wrong router or norm would hardly show."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith('shared_expert_gate.weight'):
                parameter.zero_()
            elif parameter.dim() > 1:
                parameter.normal_(0, 0.3)
            elif name.endswith('weight'):  # of norms
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 0.3)


def save(model, folder, **how):
    model.save_pretrained(folder, **how)
    tokens = torch.randint(0, SMALL['vocab_size'], (2, 13))
    save_file(dict(answers(model, tokens), tokens=tokens), str(folder / 'expected.safetensors'))


def new_model(kind, options):
    return transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind + 'Config')(**options))


def make(root):
    for number, (name, (kind, options)) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        model = new_model(kind, options)
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
                half = new_model(kind, options)
                half.load_state_dict(model.state_dict())
                folder = root / f'{name}_{str(dtype).split(".")[1]}'
                half.to(dtype).save_pretrained(folder)
                # What the rounded weights give in float32, with frequencies that are not rounded.
                whole = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
                tokens = torch.randint(0, SMALL['vocab_size'], (2, 13))
                save_file(dict(answers(whole, tokens), tokens=tokens), str(folder / 'expected.safetensors'))
    # As before version 5.
    old = root / 'llama_tied_old_config'
    torch.manual_seed(1)
    model = new_model(*MODELS['llama_tied'])
    randomize(model)
    save(model, old)
    fields = json.loads((old / 'config.json').read_text())
    rope = fields.pop('rope_parameters')
    fields['rope_theta'] = rope.pop('rope_theta')
    fields['rope_scaling'] = rope
    (old / 'config.json').write_text(json.dumps(fields))


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=True)


def answer(tokens, folder):
    found = answers(load(folder), tokens)
    load(folder).save_pretrained(folder / 'again')
    again = answers(load(folder / 'again'), tokens)
    for key, value in found.items():
        same = torch.allclose(value.float(), again[key].float(), rtol=0, atol=1e-5 * value.abs().max().item())
        assert same, f'{folder}: {key} of the model that was saved again differs'
    save_file(found, str(folder / 'answers.safetensors'))


if __name__ == '__main__':
    if sys.argv[1] == 'make':
        make(pathlib.Path(sys.argv[2]))
    else:
        for name in sys.argv[3:]:
            answer(load_file(sys.argv[2])['tokens'], pathlib.Path(name))
