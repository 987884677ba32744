#!/usr/bin/env python3
"""Makes the checkpoints of this folder with fairscale 0.4.0 on a CPU; ../README.md describes them.

    pip install torch numpy && pip install fairscale==0.4.0 --no-deps --no-build-isolation
    python make.py FOLDER
"""

import os
import sys
import zlib
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from fairscale.nn.data_parallel import FullyShardedDataParallel as FSDP
from torch import nn

VOCABULARY, WIDTH, HIDDEN, LAYERS, UPDATES = 24, 8, 11, 2, 2
# name: processes, experts
CASES = {"dense_w2": (2, 0), "moe_w2_e4": (2, 4), "moe_w4_e2": (4, 2)}


def values(name, draw, shape):
    """The same numbers for a parameter wherever it lies."""
    random = torch.Generator().manual_seed(zlib.crc32(f"{name} {draw}".encode()))
    return torch.randn(shape, generator=random) * 0.1


class Gate(nn.Module):
    def __init__(self, experts):
        super().__init__()
        self.wg = nn.Linear(WIDTH, experts, bias=False)


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)


class MoELayer(nn.Module):
    def __init__(self, experts, local):
        super().__init__()
        self.gate = Gate(experts)
        self.experts = nn.ModuleList(FeedForward() for _ in range(local))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in "k_proj", "v_proj", "q_proj", "out_proj":
            setattr(self, name, nn.Linear(WIDTH, WIDTH))


class Layer(nn.Module):
    def __init__(self, experts, local):
        super().__init__()
        self.self_attn = Attention()
        self.self_attn_layer_norm = nn.LayerNorm(WIDTH)
        if experts:
            self.moe_layer = MoELayer(experts, local)
        else:
            self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.final_layer_norm = nn.LayerNorm(WIDTH)


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("_float_tensor", torch.zeros(1))


class Decoder(nn.Module):
    def __init__(self, experts, local):
        super().__init__()
        self.register_buffer("version", torch.tensor([3.0]))
        self.embed_tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.embed_positions = Positions()
        self.layers = nn.ModuleList(
            Layer(experts if i % 2 else 0, local) for i in range(LAYERS))
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.output_projection = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.output_projection.weight = self.embed_tokens.weight  # tied


class Model(nn.Module):
    def __init__(self, experts, local, first):
        super().__init__()
        self.decoder = Decoder(experts, local)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(values(globally(name, first), "start", parameter.shape))


def globally(name, first):
    """The name of a parameter where local expert 0 is expert `first`."""
    parts = name.split(".")
    if "experts" in parts:
        at = parts.index("experts") + 1
        parts[at] = str(int(parts[at]) + first)
    return ".".join(parts)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.98), foreach=False)


def optimizer_state(optimizer, keep=lambda parameter: True):
    """As fairseq's: steps are plain numbers."""
    parameters = optimizer.param_groups[0]["params"]
    state = {
        i: {key: int(value) if key == "step" else value for key, value in entry.items()}
        for i, entry in optimizer.state_dict()["state"].items() if keep(parameters[i])
    }
    return {"state": state,
            "param_groups": [{"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.0,
                              "amsgrad": False, "params": list(range(len(parameters)))}]}


def checkpoint(world, experts, model, optimizer, metadata=None):
    cfg = {
        "common": {"seed": 1, "log_interval": 1, "cpu": True},
        "distributed_training": {"distributed_world_size": world},
        "task": {"_name": "language_modeling", "data": "data-bin", "tokens_per_sample": 8,
                 "sample_break_mode": "none"},
        "dataset": {"batch_size": 2, "train_subset": "train", "valid_subset": "valid"},
        "optimization": {"lr": [0.01], "max_update": 4, "update_freq": [1], "clip_norm": 0.0},
        "optimizer": {"_name": "adam", "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-8,
                      "weight_decay": 0.0, "lr": [0.01]},
        "lr_scheduler": {"_name": "polynomial_decay", "warmup_updates": 0,
                         "total_num_update": 4.0, "lr": [0.01]},
        "criterion": {"_name": "moe_cross_entropy" if experts else "cross_entropy"},
        "model": {"_name": "transformer_lm_gptxl_moe", "decoder_embed_dim": WIDTH,
                  "decoder_ffn_embed_dim": HIDDEN, "decoder_layers": LAYERS,
                  "decoder_attention_heads": 2, "share_decoder_input_output_embed": True,
                  "dropout": 0.0, "attention_dropout": 0.0, "moe_freq": 2 if experts else 0,
                  "moe_expert_count": experts, "moe_top1_expert": bool(experts),
                  "moe_eval_capacity_token_fraction": -1.0},
    }
    state = {
        "args": None, "cfg": cfg, "model": model, "criterion": None,
        "optimizer_history": [{"criterion_name": "CrossEntropyCriterion",
                               "optimizer_name": "FairseqAdam",
                               "lr_scheduler_state": {"best": None}, "num_updates": UPDATES}],
        "task_state": {},
        "extra_state": {"train_iterator": {"version": 2, "epoch": 1,
                                           "iterations_in_epoch": UPDATES, "shuffle": True}},
        "last_optimizer_state": optimizer,
    }
    if metadata is not None:
        state["shard_metadata"] = metadata
    return state


def is_expert(name):
    return "expert" in name


def part(model, experts_too):
    return {name: value for name, value in model.items() if is_expert(name) == experts_too}


def write_whole(folder, experts):
    """What one process without FSDP has after the same updates."""
    model = Model(experts, experts, 0)
    optimizer = adam(model.parameters())
    for update in range(UPDATES):
        for name, parameter in model.named_parameters():
            parameter.grad = values(name, update, parameter.shape)
        optimizer.step()
    state = model.state_dict()
    folder.mkdir(parents=True)
    if not experts:
        torch.save(checkpoint(1, 0, state, optimizer_state(optimizer)), folder / "x.pt")
        return
    names = {id(p): name for name, p in model.named_parameters()}
    for file, expert_part in ("x-shared.pt", False), ("x-rank-0.pt", True):
        keep = lambda p: is_expert(names[id(p)]) == expert_part
        torch.save(checkpoint(1, experts, part(state, expert_part),
                              optimizer_state(optimizer, keep)), folder / file)


def write_replicas(folder, world, experts):
    """More processes than experts without FSDP: rank r holds expert r % experts."""
    for rank in range(world):
        model = Model(experts, 1, rank % experts)
        optimizer = adam(model.parameters())
        names = {id(p): name for name, p in model.named_parameters()}
        for update in range(UPDATES):
            for name, parameter in model.named_parameters():
                parameter.grad = values(globally(name, rank % experts), update, parameter.shape)
            optimizer.step()
        folder.mkdir(parents=True, exist_ok=True)
        for file, expert_part in ("x-shared.pt", False), (f"x-rank-{rank}.pt", True):
            if rank > 0 and not expert_part:
                continue
            keep = lambda p: is_expert(names[id(p)]) == expert_part
            torch.save(checkpoint(world, experts, part(model.state_dict(), expert_part),
                                  optimizer_state(optimizer, keep)), folder / file)


class Nothing:
    """Stands for a CUDA stream."""
    def wait_stream(self, other):
        pass


def allow_cpu():
    torch.cuda.synchronize = lambda *unused: None
    torch.cuda.current_stream = lambda *unused: Nothing()
    set_up = FSDP._setup_streams

    def with_streams(self):
        set_up(self)
        self._streams["all_gather"] = None
    FSDP._setup_streams = with_streams


def instances(model):
    return [(name, m) for name, m in model.named_modules() if isinstance(m, FSDP)]


def clean(name):
    return ".".join(p for p in name.split(".") if p not in ("_fsdp_wrapped_module", "_fpw_module"))


def plain_tuples(value):
    """fairseq's move_to_cpu makes plain tuples of torch.Size."""
    if isinstance(value, dict):
        return {key: plain_tuples(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain_tuples(entry) for entry in value]
    return tuple(value) if isinstance(value, tuple) else value


def shard(rank, world, experts, folder, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    allow_cpu()
    everybody = dist.group.WORLD
    few = min(experts, world)
    groups = [dist.new_group(list(range(i, world, few))) for i in range(few)]
    local = max(1, experts // world)
    first = rank % few * local if experts else 0
    # In "default" (no --use-sharded-state) layers are below --min-params-to-wrap; in "sharded"
    # each is wrapped.
    for kind in "default", "sharded":
        model = Model(experts, local, first)
        wrap = lambda m, group=everybody: FSDP(m, process_group=group, compute_device="cpu",
                                               state_dict_device=torch.device("cpu"))
        for i, layer in enumerate(model.decoder.layers):
            if hasattr(layer, "moe_layer"):
                mine = layer.moe_layer.experts
                for e in range(local):
                    mine[e] = wrap(mine[e], groups[rank % few])
                for parameter in mine.parameters():
                    parameter.expert = True
            if kind == "sharded":
                model.decoder.layers[i] = wrap(layer)
        model = wrap(model)
        optimizer = adam(model.parameters())
        for update in range(UPDATES):
            for path, instance in instances(model):
                names, shapes, _ = instance.module.metadata(0)
                full = [clean(f"{path}.{name}" if path else name) for name in names]
                flat = torch.cat([values(globally(name, first), update, shape).flatten()
                                  for name, shape in zip(full, shapes)])
                instance.params[0].grad = instance._get_shard(flat)[0]
            optimizer.step()
        metadata = model.local_metadata_dict()
        if kind == "sharded":
            state = model.local_state_dict()
        else:
            metadata = plain_tuples(metadata)
            state = model.state_dict()
            if not experts and rank > 0:
                state = {}
        save = folder / kind
        save.mkdir(parents=True, exist_ok=True)
        if not experts:
            torch.save(checkpoint(world, 0, dict(state), optimizer_state(optimizer), metadata),
                       save / f"x-shard{rank}.pt")
            continue
        for file, expert_part in ("shared", False), (f"rank-{rank}", True):
            keep = lambda p: hasattr(p, "expert") == expert_part
            torch.save(checkpoint(world, experts, part(state, expert_part),
                                  optimizer_state(optimizer, keep), metadata),
                       save / f"x-{file}-shard{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    for port, (case, (processes, expert_count)) in enumerate(CASES.items(), start=29620):
        made = Path(sys.argv[1]) / case
        write_whole(made / "whole", expert_count)
        if processes > expert_count > 0:
            write_replicas(made / "replicas", processes, expert_count)
        mp.spawn(shard, (processes, expert_count, made, port), nprocs=processes)
