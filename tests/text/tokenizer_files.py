"""Tokenizers for tokenizer_json_test.cpp: byte-level BPE with the settings of the kinds that are read, trained on a
mixture of scripts.

tokenizer_files.py FOLDER writes texts.json, a list of texts, and for each kind KIND/tokenizer.json and KIND/ids.txt,
the ids that the package gives to each text, one line each; for kinds that are not often met to the first texts.
"""
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r'\p{N}{1,3}', r'\p{N}')
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

EDGES = ['', ' ', '  ', '\n', '\r\n', 'a\r\nb\r\n\r\n', ' spaces at both ends  ', '\tx\t', 'don\'t DON\'T we\'LL ſ\'ſ',
         '1234567890 12 3', '３４５ Ⅷ ½ ٣٤٥', 'naïve cafe\u0301 e\u0323\u0301 \u1e69 ﬁ Å Å', '👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 😀😀',
         'x\u00a0y\u2003z\u3000w\u0085v\u200bu\u2028t\x0bs\x0cr\x1cq', 'a<|endoftext|>b <|endoftext|>', '<|endoftext|',
         '  <mask>  next', 'unmask<mask>ed', 'word wordy word, sword', '<|a|><|ab|><|abc|>', 'end <tail>   after',
         'unreachable unreachable', 'pqpq pqpqpq', 'a        b         c', 'Z\u0323\u0307 q\u0307\u0323', '\ufeffbom',
         'CamelCaseHTTPServer2Go', '/usr/lib//x\r\n/', '....!!!???\n\n\n   \n x', '日本語のテキスト。中文字符，한국어 텍스트',
         'a' * 300, 'ab ' * 200, 'й' * 150, 'pq' * 60, '0' * 200, ' ' * 130 + 'x']


OFTEN = ('gpt2', 'llama3', 'smollm2', 'qwen2', 'olmo')


def mixed_texts(size):
    """About `size` bytes: words of many scripts, numbers, signs, white space."""
    ranges = [(0x41, 0x7b), (0x61, 0x7b), (0xc0, 0x250), (0x370, 0x400), (0x400, 0x530), (0x530, 0x590), (0x5d0, 0x5eb),
              (0x620, 0x700), (0x900, 0xa00), (0xe00, 0xe5c), (0x10a0, 0x1100), (0x1e00, 0x2000), (0x2000, 0x2070),
              (0x2150, 0x2c00), (0x3040, 0x3100), (0x4e00, 0x5200), (0xac00, 0xaf00), (0xff00, 0xffef),
              (0x10300, 0x10350), (0x1d400, 0x1d500), (0x1f300, 0x1f650), (0x300, 0x370), (0x20, 0x7f)]
    letters = [[chr(c) for c in range(*each) if unicodedata.category(chr(c)) not in ('Cn', 'Cs', 'Co')]
               for each in ranges]
    draw = random.Random(1)
    words = [''.join(draw.choice(letters[kind]) for _ in range(draw.randint(1, 9)))
             for kind in range(len(letters)) for _ in range(40)]
    spaces = [' '] * 30 + ['  ', '\n', '\r\n', '\t', '\u00a0', '\n\n    ', '', '', ', ', '. ', "'s ", "n't ", '\u3000']
    texts = []
    while size > 0:
        text = ''
        for _ in range(draw.randint(1, 700)):
            text += draw.choice(words) if draw.random() < .9 else str(draw.randint(0, 10 ** draw.randint(1, 9)))
            text += draw.choice(spaces)
        size -= len(text.encode())
        texts.append(text)
    return texts


def kinds():
    """Name: (normalizer, pre_tokenizer, post_processor of (tokenizer), added tokens, fields of the model)."""
    byte_level = pre_tokenizers.ByteLevel
    end = AddedToken('<|endoftext|>', special=True, normalized=False)
    split = pre_tokenizers.Split

    def behind(*steps):
        return pre_tokenizers.Sequence([*steps, byte_level(add_prefix_space=False, use_regex=False)])

    def first(token):
        return lambda tokenizer: processors.TemplateProcessing(
            single=f'{token} $A', pair=f'{token} $A {token} $B', special_tokens=[(token, tokenizer.token_to_id(token))])

    return {
        'gpt2': (None, byte_level(add_prefix_space=False), lambda _: processors.ByteLevel(trim_offsets=False), [end],
                 {}),
        'roberta': (None, byte_level(add_prefix_space=True),
                    lambda t: processors.RobertaProcessing(('</s>', t.token_to_id('</s>')),
                                                           ('<s>', t.token_to_id('<s>'))),
                    ['<s>', '</s>', AddedToken('<mask>', lstrip=True, special=True)], {}),
        'llama3': (None, behind(split(Regex(LLAMA3), 'isolated')), first('<|begin_of_text|>'),
                   ['<|begin_of_text|>', end, '<|reserved_special_token_0|>'], {'ignore_merges': True}),
        'smollm2': (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level(add_prefix_space=False)]),
                    None, [end, '<|im_start|>', '<|im_end|>'], {}),
        'qwen2': (normalizers.NFC(), behind(split(Regex(QWEN2), 'isolated')), None,
                  [end, AddedToken('<tool_call>', special=False, normalized=False)], {}),
        'olmo': (normalizers.Sequence([normalizers.NFC()]), byte_level(add_prefix_space=False), None,
                 [end, *[AddedToken(' ' * n, special=False, normalized=True) for n in range(2, 25)],
                  AddedToken('e\u0323\u0301', special=False, normalized=True)], {}),
        'o200k': (None, behind(split(Regex(O200K), 'removed', invert=True)), None, [end], {}),
        'steps': (normalizers.NFKD(),
                  behind(split(Regex(r'\p{N}{1,3}'), 'contiguous'), split(Regex('[一-龥぀-ゟ゠-ヿ]+'), 'isolated'),
                         split(Regex(r'\w+$'), 'merged_with_previous'), split('a', 'merged_with_next'),
                         split('. ', 'removed'), pre_tokenizers.Digits(False),
                         split(Regex(r'[\s\d]'), 'merged_with_previous', invert=True)),
                  None,
                  [AddedToken('word', single_word=True, special=False), AddedToken('<tail>', rstrip=True),
                   '<|a|>', '<|ab|>', '<|abc|>', AddedToken('<|ab', special=False)], {}),
        'no_unknown': (None, byte_level(add_prefix_space=False), None, [end], {'few bytes': True}),
        'unknown': (None, byte_level(add_prefix_space=False), None, [end, '<unk>'],
                    {'few bytes': True, 'unk_token': '<unk>'}),
        'unknown_joined': (None, byte_level(add_prefix_space=False), None, [end, '<unk>'],
                           {'few bytes': True, 'unk_token': '<unk>', 'fuse_unk': True}),
    }


def make(folder, name, settings, texts):
    normalizer, pre_tokenizer, post_processor, added, fields = settings
    few_bytes = fields.pop('few bytes', False)
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=120 if few_bytes else 900, show_progress=False, special_tokens=[],
                                  initial_alphabet=[] if few_bytes else sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  limit_alphabet=70 if few_bytes else 256)
    tokenizer.train_from_iterator(texts[:len(texts) // 16], trainer)
    state = json.loads(tokenizer.to_str())
    model = state['model']
    model.update(fields)
    # A word that no merges make, and a merge whose rank is below that of what makes it possible.
    for token in ['Ġunreachable', 'unreachable', 'pq', 'pqp', *[fields[key] for key in fields if key == 'unk_token']]:
        model['vocab'].setdefault(token, len(model['vocab']))
    if not few_bytes:
        model['merges'] = [['pq', 'p'], ['p', 'q']] + [m for m in model['merges'] if m != ['p', 'q']]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens([each if isinstance(each, AddedToken) else AddedToken(each, special=True, normalized=False)
                          for each in added])
    if post_processor is not None:
        tokenizer.post_processor = post_processor(tokenizer)
    (folder / name).mkdir()
    path = folder / name / 'tokenizer.json'
    state = json.loads(tokenizer.to_str())
    if name == 'gpt2':  # as it was written before
        state['model']['merges'] = [' '.join(merge) for merge in state['model']['merges']]
    path.write_text(json.dumps(state), encoding='utf-8')
    tokenizer = Tokenizer.from_file(str(path))
    some = texts if name in OFTEN else texts[:len(EDGES) + len(texts) // 5]
    encoded = tokenizer.encode_batch_fast(some, add_special_tokens=False)
    (folder / name / 'ids.txt').write_text('\n'.join(' '.join(map(str, each.ids)) for each in encoded) + '\n')


def main():
    folder = pathlib.Path(sys.argv[1])
    texts = EDGES + mixed_texts(1 << 20)
    (folder / 'texts.json').write_text(json.dumps(texts))
    for name, settings in kinds().items():
        make(folder, name, settings, texts)


if __name__ == '__main__':
    main()
