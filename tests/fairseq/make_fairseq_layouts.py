#!/usr/bin/env python3
"""Writes checkpoints in each layout that fairseq writes, and what a reader must find in them.

    python make_fairseq_layouts.py FOLDER

FOLDER/KIND/CASE/x.pt (or x-shared.pt and x-rank-0.pt ...) is the checkpoint. expected.pt beside it
holds plain dicts: `model` and `optimizer`, with evomoe's names, and `updates`. Values are made up,
the same for a parameter in all cases; the models have no forward pass but fairseq's modules in the
order in which it registers them.
"""

import sys
import types
import zlib
from pathlib import Path

import torch
from torch import nn

VOCABULARY, WIDTH, HIDDEN, POSITIONS, UPDATES = 13, 8, 12, 9, 7
LARGEST_HALF = 65504.0


def values(name, draw, shape):
    random = torch.Generator().manual_seed(zlib.crc32(f"{name} {draw}".encode()))
    return torch.randn(shape, generator=random) * 0.1


# --- fairseq's modules ---


class Module(nn.Module):
    """A module with the given children and parameters, in their order."""

    def __init__(self, **members):
        super().__init__()
        for name, member in members.items():
            if isinstance(member, torch.Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def attention():
    return Module(k_proj=nn.Linear(WIDTH, WIDTH), v_proj=nn.Linear(WIDTH, WIDTH),
                  q_proj=nn.Linear(WIDTH, WIDTH), out_proj=nn.Linear(WIDTH, WIDTH))


def feed_forward():
    return dict(fc1=nn.Linear(WIDTH, HIDDEN), fc2=nn.Linear(HIDDEN, WIDTH))


def layer(cross, experts):
    members = dict(self_attn=attention(), self_attn_layer_norm=nn.LayerNorm(WIDTH))
    if cross:
        members.update(encoder_attn=attention(), encoder_attn_layer_norm=nn.LayerNorm(WIDTH))
    if experts:
        everyone, local = experts
        members["moe_layer"] = Module(
            gate=Module(wg=linear(WIDTH, everyone)),
            experts=nn.ModuleList(Module(**feed_forward()) for _ in range(local)))
    else:
        members.update(feed_forward())
    return Module(**members, final_layer_norm=nn.LayerNorm(WIDTH))


def stack(embed_tokens, cross=False, learned=False, embedding_norm=False, experts=None, layers=2,
          **output):
    members = dict(version=torch.tensor([3.0]), embed_tokens=embed_tokens)
    members["embed_positions"] = (nn.Embedding(POSITIONS, WIDTH) if learned else
                                  Module(_float_tensor=torch.zeros(1)))
    if embedding_norm:
        members["layernorm_embedding"] = nn.LayerNorm(WIDTH)
    members["layers"] = nn.ModuleList(layer(cross, experts if i % 2 else None)
                                      for i in range(layers))
    return Module(**members, layer_norm=nn.LayerNorm(WIDTH), **output)


def tied_to(weight):
    return Module(weight=weight)


def language_model(tied=True, **options):
    tokens = nn.Embedding(VOCABULARY, WIDTH)
    output = tied_to(tokens.weight) if tied else linear(WIDTH, VOCABULARY)
    return Module(decoder=stack(tokens, output_projection=output, **options))


def adaptive_language_model(tied):
    bands = [(6, WIDTH), (4, WIDTH // 2), (3, WIDTH // 4)]
    embeddings = nn.ModuleList(nn.Sequential(nn.Embedding(*band), linear(band[1], WIDTH))
                               for band in bands)
    tails = len(bands) - 1
    if tied:
        head = Module(word_proj=tied_to(embeddings[0][0].weight), class_proj=linear(WIDTH, tails))
        tail = [nn.Sequential(tied_to(embeddings[i][1].weight), nn.Identity(),
                              tied_to(embeddings[i][0].weight)) for i in range(1, len(bands))]
    else:
        head = linear(WIDTH, bands[0][0] + tails)
        tail = [nn.Sequential(linear(WIDTH, width), nn.Identity(), linear(width, size))
                for size, width in bands[1:]]
    softmax = Module(head=head, tail=nn.ModuleList(tail), version=torch.tensor([1]))
    return Module(decoder=stack(Module(embeddings=embeddings), adaptive_softmax=softmax))


def translation(shared):
    source = nn.Embedding(VOCABULARY, WIDTH)
    target = source if shared == "all" else nn.Embedding(VOCABULARY, WIDTH)
    output = tied_to(target.weight) if shared else linear(WIDTH, VOCABULARY)
    return Module(encoder=stack(source), decoder=stack(target, cross=True, output_projection=output))


def roberta(tied=True):
    tokens = nn.Embedding(VOCABULARY, WIDTH)
    head = Module(dense=nn.Linear(WIDTH, WIDTH), layer_norm=nn.LayerNorm(WIDTH),
                  weight=tokens.weight if tied else nn.Parameter(torch.empty(VOCABULARY, WIDTH)),
                  bias=nn.Parameter(torch.empty(VOCABULARY)))
    sentence = Module(dense=nn.Linear(WIDTH, WIDTH), out_proj=nn.Linear(WIDTH, 3))
    return Module(
        encoder=Module(sentence_encoder=stack(tokens, learned=True, embedding_norm=True),
                       lm_head=head),
        classification_heads=nn.ModuleDict({"sentence_classification_head": sentence}))


def filled(model, first_expert=0):
    """Sets the values; those of expert 0 of the model are those of expert `first_expert`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values(globally(name, first_expert), "weight", parameter.shape))
    return model


def globally(name, first_expert):
    parts = name.split(".")
    if "experts" in parts:
        at = parts.index("experts") + 1
        parts[at] = str(int(parts[at]) + first_expert)
    return ".".join(parts)


# --- the optimizer's state ---


class Plain:
    """Moments as they are; the other storages change them."""

    def moments(self, name, shape):
        return {"exp_avg": values(name, "exp_avg", shape),
                "exp_avg_sq": values(name, "exp_avg_sq", shape).square()}

    def stored(self, moments):
        return moments

    def meant(self, stored):
        """What Adam goes on with."""
        return {key: stored[key].float() * stored.get(key + "_scale", 1.0)
                for key in ("exp_avg", "exp_avg_sq")}


class Half(Plain):
    def __init__(self, type):
        self.type = type

    def stored(self, moments):
        return {key: value.to(self.type) for key, value in moments.items()}


class Scaled(Plain):
    """--fp16-adam-stats; where the file is cast to float32 on saving, its halves are too."""

    def __init__(self, cast=False, plain_numbers=False):
        self.cast, self.plain_numbers = cast, plain_numbers

    def stored(self, moments):
        result = {}
        for key, value in moments.items():
            scale = 1e-8 + value.abs().max() / LARGEST_HALF
            half = (value / scale).half()
            result[key] = half.float() if self.cast else half
            result[key + "_scale"] = scale.item() if self.plain_numbers else scale
        return result


def optimizer_state(named, storage=Plain(), flat=False, keep=lambda name: True,
                    step=lambda: UPDATES, group={}, step_in_group=False, scaler=False,
                    keys=lambda i: i):
    """(state, what it means by name). `named`: all parameters of the process by name, in order."""
    meant, state = {}, {}
    all_moments = {name: storage.moments(name, p.shape) for name, p in named}
    if flat:
        stored = storage.stored({key: torch.cat([all_moments[name][key].flatten()
                                                 for name, _ in named])
                                 for key in ("exp_avg", "exp_avg_sq")})
        state[keys(0)] = {"step": step(), **stored}
        whole = storage.meant(stored)
        begin = 0
        for name, p in named:
            for key, value in whole.items():
                meant[f"{name}.{key}"] = value[begin:begin + p.numel()].reshape(p.shape)
            begin += p.numel()
    else:
        for i, (name, p) in enumerate(named):
            if not keep(name):
                continue
            stored = storage.stored(all_moments[name])
            state[keys(i)] = {"step": step(), **stored}
            for key, value in storage.meant(stored).items():
                meant[f"{name}.{key}"] = value
    options = {"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.0,
               "amsgrad": False, **group}
    if step_in_group:  # FusedAdam of newer apex
        del options["amsgrad"]
        options.update(step=UPDATES, bias_correction=True)
        for entry in state.values():
            del entry["step"]
    options["params"] = [keys(i) for i in range(1 if flat else len(named))]
    result = {"state": state, "param_groups": [options]}
    if scaler:
        result["loss_scale"] = 128.0
    return result, meant


# --- files ---


def checkpoint(model, optimizer, world=1, experts=0):
    state = {
        "args": None,
        "cfg": {"distributed_training": {"distributed_world_size": world},
                "optimizer": {"_name": "adam"}, "model": {"moe_expert_count": experts}},
        "model": model, "criterion": None,
        "optimizer_history": [{"criterion_name": "CrossEntropyCriterion",
                               "optimizer_name": "FairseqAdam",
                               "lr_scheduler_state": {"best": None}, "num_updates": UPDATES}],
        "task_state": {},
        "extra_state": {"metrics": {}, "previous_training_time": 5.0,
                        "train_iterator": {"version": 2, "epoch": 2, "iterations_in_epoch": 3,
                                           "shuffle": True}},
    }
    if optimizer is not None:
        state["last_optimizer_state"] = optimizer
    return state


def stacked(tensors):
    """With evomoe's names: those of the experts of a layer are one tensor."""
    parts = {"fc1.weight": "w1", "fc1.bias": "b1", "fc2.weight": "w2", "fc2.bias": "b2"}
    result, experts = {}, {}
    for name, tensor in tensors.items():
        if ".experts." not in name:
            result[name] = tensor
            continue
        bank, rest = name.split(".experts.")
        number, *path = rest.split(".")
        ours = f"{bank}.experts.{parts['.'.join(path[:2])]}" + "".join("." + p for p in path[2:])
        experts.setdefault(ours, {})[int(number)] = tensor
    for name, of_expert in experts.items():
        result[name] = (of_expert[0] if name.endswith(".step") else
                        torch.stack([of_expert[i] for i in sorted(of_expert)]))
    return result


def expect(folder, named, meant):
    optimizer = dict(meant)
    if meant:
        for name, _ in named:
            optimizer[name + ".step"] = torch.tensor(UPDATES if name + ".exp_avg" in meant else 0)
    torch.save({"model": stacked({name: p.detach().float() for name, p in named}),
                "optimizer": stacked(optimizer), "updates": UPDATES}, folder / "expected.pt")


def write(folder, model, type=torch.float32, arrange=lambda state: state, extra={}, optimizer=True,
          **state_options):
    """A model of one process."""
    folder.mkdir(parents=True)
    model = filled(model).to(type)
    named = list(model.named_parameters())
    state, meant = optimizer_state(named, **state_options) if optimizer else (None, {})
    saved = checkpoint(arrange(model.state_dict()), state)
    saved["extra_state"].update(extra)
    torch.save(saved, folder / "x.pt")
    expect(folder, named, meant)


def is_expert(name):
    return "expert" in name


def write_experts(folder, world, arrange=lambda state: state, **state_options):
    """`world` processes with two experts each, not FSDP."""
    folder.mkdir(parents=True)
    flat = state_options.get("flat", False)
    everything, all_meant = {}, {}
    for rank in range(world):
        model = filled(language_model(experts=(2 * world, 2)), first_expert=2 * rank)
        local = list(model.named_parameters())
        named = [(globally(name, 2 * rank), p) for name, p in local]
        for file, expert_part in ("x-shared", False), (f"x-rank-{rank}", True):
            if rank > 0 and not expert_part:
                continue
            # The flat tensor of all is no expert's, so that the shared file has it.
            keep = ((lambda name: not expert_part) if flat else
                    (lambda name: is_expert(name) == expert_part))
            state, meant = optimizer_state(named, keep=keep, **state_options)
            if flat and expert_part:
                state["state"] = {}
            else:
                all_meant.update(meant)
            part = {name: value for name, value in model.state_dict().items()
                    if is_expert(name) == expert_part}
            torch.save(checkpoint(arrange(part), state, world, 2 * world), folder / f"{file}.pt")
        everything.update(named)
    expect(folder, list(everything.items()), all_meant)


# --- ways to hold the same entries ---


def sorted_by_name(state):
    return {name: state[name] for name in sorted(state)}


def reversed_by_name(state):
    return {name: state[name] for name in sorted(state, reverse=True)}


def copies(state):
    """As a GPU's tensors are saved: tied ones one by one."""
    return {name: value.clone() for name, value in state.items()}


def parameters(state):
    return {name: nn.Parameter(value, requires_grad=value.is_floating_point())
            for name, value in state.items()}


def views(state):
    """Pieces of one storage, matrices by columns."""
    storage = torch.cat([v.float().t().flatten() if v.dim() == 2 else v.float().flatten()
                         for v in state.values()])
    result, begin = {}, 0
    for name, value in state.items():
        piece = storage[begin:begin + value.numel()]
        begin += value.numel()
        result[name] = (piece.view(value.shape[::-1]).t() if value.dim() == 2 else
                        piece.view(value.shape))
    return result


def as_numpy(values):
    """A stand-in that pickles as NumPy's array of int64 does, without NumPy."""
    def module(name, **members):
        made = sys.modules.setdefault(name, types.ModuleType(name))
        for key, member in members.items():
            member.__module__, member.__qualname__ = name, key
            setattr(made, key, member)
        return made

    class ndarray:
        def __reduce__(self):
            return _reconstruct, (ndarray, (0,), b"b"), self.state

    class dtype:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __reduce__(self):
            return dtype, ("i8", False, True), (3, "<", None, None, None, -1, -1, 0)

    def _reconstruct(*arguments):
        return ndarray()

    module("numpy", ndarray=ndarray, dtype=dtype)
    module("numpy.core")
    module("numpy.core.multiarray", _reconstruct=_reconstruct)
    array = ndarray()
    data = b"".join(v.to_bytes(8, "little") for v in values)
    array.state = (1, (len(values),), dtype(), False, data)
    return array


def main(folder):
    layouts = folder / "layouts"
    write(layouts / "fp32", language_model())
    write(layouts / "tensor_steps", language_model(),
          step=lambda: torch.tensor(float(UPDATES)))
    write(layouts / "step_of_the_group", language_model(), step_in_group=True)
    write(layouts / "keys_of_old_torch", language_model(), keys=lambda i: 140_000_000 - 64 * i)
    write(layouts / "fp16_flat", language_model(), flat=True, scaler=True)
    write(layouts / "fp16_no_flatten_grads", language_model(), scaler=True)
    write(layouts / "memory_efficient_fp16", language_model(), torch.float16, scaler=True)
    write(layouts / "memory_efficient_bf16", language_model(), torch.bfloat16)
    write(layouts / "moments_in_half", language_model(), torch.float16,
          storage=Half(torch.float16), scaler=True)
    write(layouts / "moments_in_bfloat16", language_model(), storage=Half(torch.bfloat16))
    write(layouts / "scaled", language_model(), torch.float16, storage=Scaled(), scaler=True)
    write(layouts / "scaled_plain_numbers", language_model(), torch.float16,
          storage=Scaled(plain_numbers=True))
    write(layouts / "scaled_cast", language_model(), storage=Scaled(cast=True))
    write(layouts / "scaled_flat", language_model(), storage=Scaled(cast=True), flat=True,
          scaler=True)
    write(layouts / "no_optimizer_state", language_model(), optimizer=False)
    write(layouts / "some_without_state", roberta(), keep=lambda name: "lm_head" not in name)
    for world in 1, 2:
        write_experts(layouts / f"experts_of_{world}", world)
        write_experts(layouts / f"experts_of_{world}_scaled", world, storage=Scaled())
    write_experts(layouts / "experts_of_1_flat", 1, flat=True, scaler=True)
    write(layouts / "parameters", language_model(), arrange=parameters)
    write(layouts / "views", language_model(), arrange=views)

    models = {
        "lm": language_model, "lm_untied": lambda: language_model(tied=False),
        "lm_12_layers": lambda: language_model(layers=12),
        "lm_positions": lambda: language_model(learned=True, embedding_norm=True),
        "adaptive": lambda: adaptive_language_model(tied=False),
        "adaptive_tied": lambda: adaptive_language_model(tied=True),
        "mt_all_shared": lambda: translation("all"), "mt_tied": lambda: translation("decoder"),
        "mt_untied": lambda: translation(None), "roberta": roberta,
        "roberta_untied": lambda: roberta(tied=False)}
    orders = {"": lambda state: state, "_sorted": sorted_by_name, "_reversed": reversed_by_name,
              "_copies_sorted": lambda state: copies(sorted_by_name(state)),
              "_copies_reversed": lambda state: copies(reversed_by_name(state))}
    for order, arrange in orders.items():
        for name, model in models.items():
            for flat in False, True:
                write(folder / "orders" / (name + order + "_flat" * flat), model(),
                      arrange=arrange, flat=flat)
        write_experts(folder / "orders" / ("experts" + order), 2, arrange=arrange)

    write(folder / "expanded" / "bias", language_model(), arrange=lambda state: {
        **state, "decoder.layers.0.fc1.bias": torch.full((1,), 0.25).expand(HIDDEN)})
    name = folder / "expanded" / "bias" / "expected.pt"
    expected = torch.load(name)
    expected["model"]["decoder.layers.0.fc1.bias"] = torch.full((HIDDEN,), 0.25)
    torch.save(expected, name)
    write(folder / "numpy" / "eval_bleu", translation("all"), extra={
        "metrics": {"valid": [(100, "_bleu_counts", {"sum": as_numpy([9, 7, 5, 3])})]}})
    write_experts(folder / "lost" / "experts_of_2_flat", 2, flat=True, scaler=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
