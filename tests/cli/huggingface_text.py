"""Models of transformers with tokenizers, for huggingface_text_test.cpp.

make FOLDER: writes tiny random models, one a folder, each with a tokenizer of another kind.
answer PROMPTS FOLDER=NEVER ...: for each model what transformers makes of the prompts (a JSON list of texts):
answers.json has the ids and the text of at most 64 greedy tokens, logits.safetensors the logits of each prompt.
NEVER: a dict.ids.json, of whose tokens only </s> may come, and ends the text; empty: as generation_config.json says.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

TESTS = pathlib.Path(__file__).parent.parent
sys.path += [str(TESTS / 'text'), str(TESTS / 'hub')]
import huggingface_models  # noqa: E402
import tokenizer_files  # noqa: E402

SMALL = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=256)

# Name: (class, kind of tokenizer, special tokens, rows more than tokens, options)
MODELS = {
    'llama': ('Llama', 'llama3', dict(bos_token='<|begin_of_text|>', eos_token='<|endoftext|>'), 0, {}),
    'smollm': ('Llama', 'smollm2', dict(bos_token='<|im_start|>', eos_token='<|im_end|>', pad_token='<|im_end|>',
                                        unk_token='<|endoftext|>'), 0, dict(tie_word_embeddings=True)),
    'qwen3_moe': ('Qwen3Moe', 'qwen2', dict(eos_token='<|endoftext|>', pad_token='<|endoftext|>'), 7,
                  dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8)),
}


def make(root):
    texts = tokenizer_files.EDGES + tokenizer_files.mixed_texts(1 << 16)
    (root / 'tokenizers').mkdir(parents=True)
    kinds = tokenizer_files.kinds()
    for number, (name, (kind, tokenizer_kind, special, more, options)) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        tokenizer_files.make(root / 'tokenizers', tokenizer_kind, kinds[tokenizer_kind], texts)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(root / 'tokenizers' / tokenizer_kind / 'tokenizer.json'), **special)
        ids = {f'{each}_id': tokenizer.convert_tokens_to_ids(token) for each, token in special.items()
               if each != 'unk_token'}
        config = getattr(transformers, kind + 'Config')(**SMALL, vocab_size=len(tokenizer) + more,
                                                        **{'bos_token_id': None, 'pad_token_id': None, **ids},
                                                        **options)
        model = getattr(transformers, kind + 'ForCausalLM')(config)
        huggingface_models.randomize(model)
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)


def answer(prompts, folder, never):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    options = {}
    end = model.generation_config.eos_token_id
    if never:
        special = json.loads(pathlib.Path(never).read_text())
        end = special.pop('</s>')
        options = dict(eos_token_id=end, suppress_tokens=list(special.values()))
    answers = {'ids': [], 'texts': []}
    logits = {}
    for number, prompt in enumerate(prompts):
        ids = tokenizer(prompt, return_tensors='pt').input_ids
        answers['ids'].append(ids[0].tolist())
        with torch.no_grad():
            logits[str(number)] = model(input_ids=ids).logits[0].float().contiguous()
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False,
                              **options)[0, ids.shape[1]:].tolist()
        answers['texts'].append(tokenizer.decode([each for each in made if each != end]))
    (pathlib.Path(folder) / 'answers.json').write_text(json.dumps(answers))
    save_file(logits, str(pathlib.Path(folder) / 'logits.safetensors'))


if __name__ == '__main__':
    if sys.argv[1] == 'make':
        make(pathlib.Path(sys.argv[2]))
    else:
        for model_and_never in sys.argv[3:]:
            answer(json.loads(pathlib.Path(sys.argv[2]).read_text()), *model_and_never.split('='))
