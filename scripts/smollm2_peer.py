"""What scripts/smollm2.sh asks of transformers, and the page that it writes.

weights FOLDER GGUF OUTPUT            the model of a GGUF file as safetensors, with its tokenizer
perplexity MODEL SPLIT RUN BLOCKS THREADS
                                      of blocks of 512 tokens of SPLIT.bin, as evomoe eval-lm makes them; RUN/dict.txt
                                      says what the tokens are
speed PROGRAM RUN MODEL NEW THREADS   tokens per second of evomoe generate, with the time of loading left out, of
                                      transformers, both with weights in float32 and in bfloat16, and of MODEL's
                                      matrix products alone
text MODEL                            what it goes on with
page FOLDER PAGE ...                  results as a page of docs
"""
import argparse
import json
import math
import statistics
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from page_parts import filled, table

PROMPT = 'The old house stood at the end of the road, and'
BLOCK = 512
ROUNDS = 5  # of what is timed
RUNS = {'dense': ('dense', ''), 'switch': ('Switch', 'copy'), 'copy': ('DTS', 'copy'), 'noise': ('DTS', 'noise'),
        'mask': ('DTS', 'mask'), 'drop-upcycling': ('DTS', 'drop-upcycling')}


def load(folder, threads, dtype='float32'):
    import torch
    import transformers
    torch.set_num_threads(threads)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype),
                                                             trust_remote_code=True).eval()


def weights(folder, gguf, output):
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32)
    # A model of GGUF counts as quantised, which is not saved; its weights are not, any more.
    fields = {key: value for key, value in model.config.to_dict().items() if key != 'quantization_config'}
    plain = transformers.AutoModelForCausalLM.from_config(type(model.config).from_dict(fields))
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(output)
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=gguf).save_pretrained(output)


def tokens_of(split):
    """The numbers in a .bin file of fairseq's mmap format, which .idx says the type of."""
    import numpy
    head = Path(f'{split}.idx').read_bytes()[:18]
    magic, _, kind = struct.unpack('<9sQB', head)
    if magic != b'MMIDIDX\x00\x00':
        sys.exit(f'{split}.idx: is no index of tokens')
    types = {1: numpy.uint8, 2: numpy.int8, 3: numpy.int16, 4: numpy.int32, 5: numpy.int64, 8: numpy.uint16}
    return numpy.fromfile(f'{split}.bin', dtype=types[kind]).astype(numpy.int64)


def their_numbers(run):
    """Numbers of tokens there, by number here: those of <s>, <pad>, </s> and <unk>, then what dict.txt lists."""
    ids = json.loads((Path(run) / 'dict.ids.json').read_text())
    first = [ids[symbol] for symbol in ('<s>', '<pad>', '</s>', '<unk>')]
    rest = [line.split(' ')[0] for line in (Path(run) / 'dict.txt').read_text(encoding='utf-8').splitlines()]
    return first + [int(word) if word.isdigit() else -1 for word in rest]


def perplexity(model, split, run, blocks, threads):
    import numpy
    import torch
    numbers = numpy.array(their_numbers(run))
    # Each block is read with the token before it, the first one with </s>, and predicts its own.
    text = numbers[numpy.concatenate([[2], tokens_of(split)])]
    model = load(model, threads)
    loss, count = 0.0, 0
    with torch.no_grad():
        for block in range(blocks):
            piece = torch.from_numpy(text[block * BLOCK:(block + 1) * BLOCK + 1])
            if len(piece) < 2:
                break
            logits = model(input_ids=piece[None, :-1], use_cache=False).logits[0].double()
            loss += torch.nn.functional.cross_entropy(logits, piece[1:], reduction='sum').item()
            count += len(piece) - 1
    return {'perplexity': math.exp(loss / count), 'tokens': count, 'class': type(model).__name__}


def speed(program, run, folder, new, threads):
    """Medians of some rounds, in which ours and theirs take turns. A rate is that of what a longer text has more than a
    short one; a round in which the longer one took no more time, as others use the machine, has none."""
    import torch
    import transformers
    models = {dtype: load(folder, threads, dtype) for dtype in ('float32', 'bfloat16')}
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors='pt')
    for model in models.values():
        model.generation_config.eos_token_id = None
    matrices = [module.weight for module in models['float32'].modules() if isinstance(module, torch.nn.Linear)]
    rows = {weight.shape[1]: torch.randn(1, weight.shape[1]) for weight in matrices}

    def ours(dtype, length):
        subprocess.run([program, 'generate', '--path', f'{run}/checkpoint_last', '--prompt', PROMPT, '--greedy',
                        '--max-len', str(length), '--ignore-eos', '--threads', str(threads), '--dtype', dtype],
                       check=True, stdout=subprocess.DEVNULL)

    def theirs(dtype, length):
        models[dtype].generate(**tokens, do_sample=False, max_new_tokens=length, pad_token_id=0)

    def products(length):
        with torch.inference_mode():
            for _ in range(length):
                for weight in matrices:
                    torch.nn.functional.linear(rows[weight.shape[1]], weight)

    def seconds(make, length):
        begin = time.perf_counter()
        make(length)
        return time.perf_counter() - begin

    makers = {'ours': partial(ours, 'float32'), 'theirs': partial(theirs, 'float32'), 'products': products,
              'ours_bfloat16': partial(ours, 'bfloat16'), 'theirs_bfloat16': partial(theirs, 'bfloat16')}
    short = max(new // 8, 1)
    rates = {name: [] for name in makers}
    for _ in range(ROUNDS):
        for name, make in makers.items():
            more = seconds(make, new) - seconds(make, short)
            if more > 0:
                rates[name].append((new - short) / more)
    return {'threads': threads, **{name: statistics.median(found) if found else None for name, found in rates.items()}}


def text(folder):
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(Path(folder).parent / 'hf')
    tokens = tokenizer(PROMPT, return_tensors='pt')
    model = load(folder, 2)
    written = model.generate(**tokens, do_sample=False, max_new_tokens=32, pad_token_id=0)
    return {'text': tokenizer.decode(written[0])}


def verdict(best, results):
    """Whether upcycling gained, of the best mixture beside the dense model after as many updates."""
    dense, mixture = (results[f'run-{name}']['perplexity'] for name in ('dense', best))
    router, operator = RUNS[best]
    name = f'{router} with `--diversify {operator}`'
    if mixture < dense:
        return f'{name} comes out best: its perplexity is {1 - mixture / dense:.1%} lower than the dense model\'s.'
    return (f'At this length upcycling gains nothing: the best mixture, {name}, has {mixture:.4f} where the dense model has '
            f'{dense:.4f} after as many updates.')


def page(folder, path, flags):
    results = {file.stem: json.loads(file.read_text()) for file in sorted((Path(folder) / 'results').glob('*.json'))}
    number = lambda name: f"{results[name]['perplexity']:.4f}" if name in results else '–'
    parts = ['# SmolLM2 as a mixture of experts']
    parts.append(filled(f'''Made by `make smollm2` (scripts/smollm2.sh): SmolLM2-135M-Instruct, a Llama of 30 layers, is
        taken in from Hugging Face\'s format, upcycled, trained on books and given back. Perplexities are of
        {flags.blocks} blocks of {BLOCK} of the model\'s own tokens.'''))
    parts.append('## The dense model beside transformers')
    rows = [(name, number(f'ours-{split}'), number(f'theirs-{split}'))
            for name, split in (('perplexity, wikitext-2, test', 'wikitext-2'), ('perplexity, books, valid', 'books'))]
    rate = lambda name: 'not measured' if results['speed'][name] is None else f"{results['speed'][name]:.1f}"
    threads = results['speed']['threads']
    rows.append((f"tokens per second, greedy, {threads} thread{'' if threads == 1 else 's'}", rate('ours'), rate('theirs')))
    rows.append(('the same, weights in bfloat16', rate('ours_bfloat16'), rate('theirs_bfloat16')))
    parts.append(table(('', 'ours', 'transformers'), rows))
    parts.append(filled(f'''The model\'s matrix products alone, by torch, would make {rate('products')} tokens per second: each
        token reads all weights once, in float32. `generate --dtype bfloat16` rounds the weights and computes in float32,
        transformers with `dtype=torch.bfloat16` computes in bfloat16. Rates are medians of {ROUNDS} rounds, in which they
        take turns.'''))
    parts.append('## Mixtures')
    parts.append(filled(f'''Four experts in every second layer, {flags.updates} updates of {flags.tokens} tokens each; in all
        runs what `--freeze {flags.freeze or "(nothing)"}` names stays as it is. DTS is the dense-to-sparse gate with
        `--dts-scale-weights`, so that a token\'s weights sum to 1 and copies begin as the dense model.'''))
    rows = []
    for run, (router, operator) in RUNS.items():
        if f'run-{run}' in results:
            begin = number('ours-books') if run == 'dense' else number(f'begin-{run}')
            rows.append((router, operator, begin, number(f'run-{run}')))
    parts.append(table(('router', '`--diversify`', 'books, valid: at first', 'after training'), rows, left=2))
    mixtures = [name for name in RUNS if name != 'dense' and f'run-{name}' in results]
    if mixtures and 'run-dense' in results:
        parts.append(filled(verdict(min(mixtures, key=lambda name: results[f'run-{name}']['perplexity']), results)))
    back = f'back-{flags.back}'
    if back in results:
        parts.append('## Back in transformers')
        parts.append(filled(f'''`convert --to hf` makes a `{results[back]['class']}` of the run with
            `--diversify {flags.back}`: perplexity {number(back)} there, {number(f'run-{flags.back}')} here. It goes on:'''))
        parts.append(filled('> ' + results[f'text-{flags.back}']['text'], others='> '))
    Path(path).write_text('\n\n'.join(parts) + '\n', encoding='utf-8')


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == 'weights':
        return weights(*arguments)
    if command == 'page':
        parser = argparse.ArgumentParser()
        for name in ('folder', 'page', '--updates', '--tokens', '--blocks', '--freeze', '--back'):
            parser.add_argument(name)
        flags = parser.parse_args(arguments)
        return page(flags.folder, flags.page, flags)
    if command == 'perplexity':
        found = perplexity(*arguments[:3], *map(int, arguments[3:]))
    elif command == 'speed':
        found = speed(*arguments[:3], *map(int, arguments[3:]))
    else:
        found = text(*arguments)
    print(json.dumps(found))


if __name__ == '__main__':
    main()
