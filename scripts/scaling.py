#!/usr/bin/env python3
"""Measures how a training step grows with the number of ranks, and writes a page, scaling.md in docs; `make scaling`
runs it.

Each layout's step is measured by `evomoe bench step` and computed by `evomoe plan`. The machine that the plan is told of
is measured first: one rank alone gives its speed, `evomoe bench link` that of its messages. The last table is computed
alone, for machines that were not there. Exit status: 0, or 1 when a command failed.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import two_hosts
from measuring import json_lines, median_line, progress
from page_parts import filled, table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scaling.md"
MODEL = "--layers 8 --experts 8 --topk 1 --seq 256"
# As `evomoe plan` is told of the same model.
PLANNED = ("--arch transformer_lm_gpt2_tiny --decoder-layers 8 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024 "
           "--decoder-attention-heads 4 --moe-freq 2 --moe-expert-count 8 --moe-router topk --moe-k 1 "
           "--moe-train-capacity-token-fraction 0 --vocab-size 8192 --tokens-per-sample 256 --clip-norm 1 "
           "--weight-decay 0.1 --dropout 0 --attention-dropout 0 --criterion moe_cross_entropy "
           "--share-decoder-input-output-embed --decoder-learned-pos")
# (name, --expert-parallel-size of P ranks, --zero-stage)
LAYOUTS = (("whole model on each rank", lambda ranks: 1, 0), ("experts shared", lambda ranks: ranks, 0),
           ("ZeRO 1", lambda ranks: 1, 1), ("ZeRO 2", lambda ranks: 1, 2), ("ZeRO 3", lambda ranks: 1, 3),
           ("experts shared, ZeRO 3", lambda ranks: ranks, 3))
# A model and machines that are only computed.
LARGE = ("--arch transformer_lm_gpt2_tiny --decoder-layers 32 --decoder-embed-dim 4096 --decoder-ffn-embed-dim 14336 "
         "--decoder-attention-heads 32 --moe-freq 2 --moe-expert-count 64 --moe-router topk --moe-k 1 --vocab-size 50264 "
         "--tokens-per-sample 2048 --batch-size 4 --update-freq 4 --checkpoint-activations "
         "--criterion moe_cross_entropy")
LARGE_RANKS = "8,16,32,64,128,256,512,1024"
MIB = 2**20


class Kept:
    """What commands printed, in a file, so that an interrupted run can go on (--continue)."""

    def __init__(self, path, go_on):
        self.path, self.waiting = path, {}
        if go_on and path.exists():
            for text in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(text)
                except ValueError:
                    continue  # a run that was killed may leave half of its last line
                self.waiting.setdefault(record["arguments"], []).append(record["lines"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"arguments": arguments, "lines": lines}) + "\n"
                                for arguments, kept in self.waiting.items() for lines in kept), encoding="utf-8")

    def lines(self, arguments, measure):
        """What was kept of the command, else what `measure` returns."""
        if self.waiting.get(arguments):
            return self.waiting[arguments].pop(0)
        lines = measure()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"arguments": arguments, "lines": lines}) + "\n")
        return lines


class Program:
    """evomoe, or the Python of the peers."""

    def __init__(self, path, kept):
        self.path, self.kept = path, kept

    def run(self, arguments):
        """The JSON lines of a command; of one that measures perhaps those that were kept."""
        if arguments.startswith("plan"):
            return self._call(arguments)
        return self.kept.lines(arguments, lambda: self._call(arguments))

    def _call(self, arguments):
        line = [self.path, *arguments.split()]
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(line)}: exit status {done.returncode}\n{done.stderr.strip()}")
        return json_lines(done.stdout)


def step(program, ranks, batch, experts, stage, threads=1, rounds=1):
    """The median of some processes."""
    flags = (f"bench step --suite small {MODEL} --batch {batch} --warmup 3 --steps 8 --peak-seconds 0 "
             f"--threads {threads} --distributed-world-size {ranks} --expert-parallel-size {experts} "
             f"--zero-stage {stage}")
    return median_line([program.run(flags)[0] for _ in range(rounds)])


def machine_yaml(name, alone, flops, links, ranks_per_node):
    link = "{{bandwidth: {:.4g}, latency: {:.4g}}}".format(links["bandwidth"], links["latency"])
    words = alone["parameters"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / ranks_per_node
    return (f"about: {name}\nranks_per_node: {ranks_per_node}\nflops: {flops:.4g}\nmemory: {memory:.4g}\n"
            f"memory_bandwidth: {7 * 4 * words / alone['optimizer_ms'] * 1e3:.4g}\n"
            # The cores that compute move the messages, too.
            f"overlap: 0\ninside: {link}\nbetween: {link}\n")


def planned(program, machine, batch, ranks):
    """What `evomoe plan` says, by (experts, stage)."""
    lines = program.run(f"plan --json --machine {machine} --ranks {ranks} {PLANNED} --batch-size {batch // ranks}")
    return {(line["expert_parallel_size"], line["zero_stage"]): line for line in lines}


def measure_machine(program, folder, rounds, cores):
    """A YAML file of this machine; with the lines that it was made of."""
    progress("one rank alone")
    alone = step(program, 1, 4, 1, 0, rounds=rounds)
    progress("messages between two ranks")
    links = {line["impl"].split(":")[1]: line
             for line in program.run("bench link --mib 16 --repeats 20 --threads 1 --distributed-world-size 2")}
    told = {"bandwidth": links["all-reduce"]["sent_gbs"] * 1e9, "latency": links["all-reduce"]["latency_ms"] / 1e3}
    path = folder / "machine.yaml"
    # The plan's own count of operations, so that its time of one rank is that which was measured.
    path.write_text(machine_yaml("this machine", alone, 1e12, told, cores), encoding="utf-8")
    flops = planned(program, path, 4, 1)[1, 0]["compute_seconds"] * 1e12
    seconds = (alone["ms_median"] - alone["optimizer_ms"]) / 1e3
    path.write_text(machine_yaml("this machine", alone, flops / seconds, told, cores), encoding="utf-8")
    return path, links


def rows_of_layouts(program, machine, batch_of, ranks_list, rounds, base):
    """Measured beside computed, a row for each layout."""
    rows, gaps = [], {"bytes": [], "time": []}
    for ranks in ranks_list:
        plans = planned(program, machine, batch_of(ranks), ranks)
        for name, experts, stage in LAYOUTS:
            share = experts(ranks)
            progress(f"{ranks} ranks, {name}")
            line = step(program, ranks, batch_of(ranks), share, stage, rounds=rounds)
            plan = plans[share, stage]
            sent, computed = line["comm_mb"], plan["bytes"] / MIB
            ms, expected = line["ms_median"], plan["seconds"] * 1e3
            gaps["bytes"].append(abs(sent / computed - 1))
            gaps["time"].append(abs(expected / ms - 1))
            rows.append([ranks, name, f"{ms:.0f}", f"{line['tokens_per_s']:.0f}",
                         f"{line['tokens_per_s'] / base / (ranks if batch_of(2) != batch_of(1) else 1):.2f}",
                         f"{line['peak_mem_mb']:.0f}", f"{sent:.2f}", f"{computed:.2f}",
                         f"{line['comm_mb_on_lo']:.2f}", f"{expected:.0f}", f"{line['last_loss']:.5f}"])
    return rows, gaps


# Beside PyTorch's own: a model, the options of ours, the peer's model and implementation.
BESIDE = (("dense", "--moe-freq 0 --expert-parallel-size 1", "dense_gpt", "ddp"),
          ("mixture", "--expert-parallel-size 1", "moe_loop", "ddp"),
          ("mixture", "--expert-parallel-size 2", "moe_loop", "ep"),
          ("dense", "--moe-freq 0 --expert-parallel-size 1 --zero-stage 3", "dense_gpt", "fsdp2"),
          ("mixture", "--expert-parallel-size 1 --zero-stage 3", "moe_loop", "fsdp2"))


def beside_peers(program, python, peers, rounds):
    """The update of `small` by two ranks of one thread: ours, one process of ours, and the peer, in alternation."""
    own, alone, theirs = {}, {}, {}
    common = "bench step --suite small --warmup 2 --steps 6 --peak-seconds 0"
    for number in range(rounds):
        for model, flags, peer_model, impl in BESIDE:
            progress(f"round {number + 1}/{rounds}: {impl}, {model}")
            key = (model, impl)
            own.setdefault(key, []).append(program.run(f"{common} {flags} --distributed-world-size 2 --threads 1")[0])
            if impl == "ddp":
                shape = "--moe-freq 0" if model == "dense" else ""
                alone.setdefault(model, []).append(program.run(f"{common} {shape} --threads 2")[0])
            line = [str(peers / "bench_parallel.py"), "--suite", "small", "--impl", impl, "--model", peer_model,
                    "--ranks", "2", "--threads", "1", "--warmup", "2", "--steps", "6", "--peak-seconds", "0",
                    "--keep-heap", "--no-table"]
            found = [result for result in python.run(" ".join(line)) if result["impl"] == f"{impl}:{peer_model}"]
            theirs.setdefault(key, []).extend(found)
    rows = []
    for model, _, _, impl in BESIDE:
        mine, peer = own[model, impl], theirs[model, impl]
        ratios = sorted(b["ms_median"] / a["ms_median"] for a, b in zip(mine, peer))
        of_one = sorted(b["ms_median"] / a["ms_median"] for a, b in zip(mine, alone[model]))
        middle = lambda lines, name: statistics.median(line[name] for line in lines)
        rows.append([impl, model, f"{middle(mine, 'ms_median'):.0f}", f"{middle(peer, 'ms_median'):.0f}",
                     f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} – {ratios[-1]:.2f})",
                     f"{statistics.median(of_one):.2f} ({of_one[0]:.2f} – {of_one[-1]:.2f})",
                     f"{middle(mine, 'peak_mem_mb'):.0f}", f"{middle(peer, 'peak_mem_mb'):.0f}",
                     f"{middle(mine, 'comm_mb_on_lo'):.0f}", f"{middle(peer, 'comm_mb_on_lo'):.0f}",
                     f"{mine[0]['last_loss']:.4f}", f"{peer[0]['last_loss']:.4f}"])
    return table(("PyTorch's", "model", "ours ms", "its ms", "times faster (rounds)",
                  "of one process with 2 threads (rounds)", "ours MiB", "its MiB", "ours on loopback", "its",
                  "last loss", "its"), rows, 2)


RATE = "1gbit"
PARTS = (1, 2, 4)


def on_link(program, kept, hosts, arguments):
    """Rank 0's JSON lines of a command on both hosts, perhaps those that were kept."""
    return kept.lines(f"{RATE} {arguments}", lambda: hosts.run(program.path, arguments))


def link_step(program, kept, hosts, flags, rounds):
    """The median of some pairs of processes."""
    flags = f"bench step --suite small {MODEL} --batch 8 --warmup 3 --steps 8 --peak-seconds 0 --threads 1 {flags}"
    return median_line([on_link(program, kept, hosts, flags)[0] for _ in range(rounds)])


def over_a_link(program, kept, rounds):
    """What goes on at once, and what travels once, where two machines have a slow link between them."""
    missing = two_hosts.why_not()
    if missing:
        progress(missing)
        return [f"Not measured: {missing}."]
    overlap, parts = [], []
    with two_hosts.TwoHosts(RATE) as hosts:
        progress(f"a link of {RATE}")
        found = on_link(program, kept, hosts, "bench link --mib 16 --repeats 10 --threads 1")
        links = {line["impl"].split(":")[1]: line for line in found}
        for model, shape in (("dense", "--moe-freq 0"), ("mixture", "")):
            progress(f"{RATE}, {model}")
            own = program.run(f"bench step --suite small {MODEL} {shape} --batch 4 --warmup 3 --steps 8 --peak-seconds 0 "
                              "--threads 1")[0]["ms_median"]
            line = link_step(program, kept, hosts, f"{shape} --expert-parallel-size 1", rounds)
            messages = line["comm_mb"] * MIB / links["all-reduce"]["sent_gbs"] / 1e6
            overlap.append([model, f"{own:.0f}", f"{line['comm_mb']:.1f}", f"{messages:.0f}", f"{own + messages:.0f}",
                            f"{line['ms_median']:.0f}", f"{(own + messages) / line['ms_median']:.2f}"])
        for topk in (1, 2):
            first = None
            for count in PARTS:
                progress(f"{RATE}, experts shared, {topk} for each token, {count} parts")
                line = link_step(program, kept, hosts,
                                 f"--topk {topk} --expert-parallel-size 2 --expert-exchange-parts {count}", rounds)
                first = first or line["ms_median"]
                parts.append([topk, count, f"{line['ms_median']:.0f}", f"{first / line['ms_median']:.2f}",
                              f"{line['comm_mb']:.1f}", f"{line['comm_mb'] + saved_mib(topk):.1f}"])
    return [f"""Two network namespaces with {RATE} between them, as measured: all-reduce
            {links['all-reduce']['sent_gbs']:.3f} GB/s, all-to-all {links['all-to-all']['sent_gbs']:.3f} GB/s. 2,048 tokens
            an update, a rank of one thread on each.""",
            """Data parallel, where gradients travel while the backward pass goes on. *Alone*: a process with half of the
            tokens; *messages*: their bytes at the measured rate; *gain*: both one after the other, beside what was
            measured.""",
            table(("model", "alone ms", "sent MiB", "messages ms", "one after the other ms", "measured ms", "gain"),
                  overlap, 1),
            """Experts shared by both, each token's row sent once to a rank (*sent*); one row for each of its experts there
            would be the bytes of the last column, with even routers. *Parts*: `--expert-exchange-parts`.""",
            table(("experts for each token", "parts", "ms", "gain", "sent MiB", "a row for each expert, MiB"), parts, 2)]


def saved_mib(topk, experts=8, layers=4, tokens=1024, width=256):
    """Of a rank's update: rows that another rank's experts share instead of having one each. To it and back, forward and
    backward."""
    none_there = math.comb(experts // 2, topk) / math.comb(experts, topk)
    rows = tokens * (topk / 2 - (1 - none_there))
    return rows * width * 4 * 4 * layers / MIB


HEADINGS = ("ranks", "layout", "ms", "tokens/s", "of one process", "peak MiB", "sent MiB", "by formula", "on loopback",
            "computed ms", "last loss")


def large_table(program):
    rows = []
    for machine in ("h100_node", "h200_node"):
        progress(f"computed: {machine}")
        lines = program.run(f"plan --json --machine {machine} --ranks {LARGE_RANKS} {LARGE}")
        for ranks in map(int, LARGE_RANKS.split(",")):
            fitting = [line for line in lines if line["ranks"] == ranks and line["fits"]]
            if not fitting:
                least = min((line for line in lines if line["ranks"] == ranks), key=lambda line: line["memory"])
                rows.append([machine, ranks, "none fits", "", f"{least['memory'] / 1e9:.0f}", "", "", ""])
                continue
            best = fitting[0]
            rows.append([machine, ranks, best["expert_parallel_size"], best["zero_stage"],
                         f"{best['memory'] / 1e9:.0f}", f"{best['bytes'] / 1e9:.2f}", f"{best['seconds'] * 1e3:.0f}",
                         f"{best['tokens_per_second']:.0f}"])
    return table(("machine", "ranks", "share experts", "ZeRO", "GB a rank", "GB sent", "ms", "tokens/s"), rows, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evomoe", default=str(ROOT / "build/release/evomoe"), help="the program")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each layout (default 3)")
    parser.add_argument("--ranks", default="2,4", help="numbers of ranks (default 2,4)")
    parser.add_argument("--peers", default=os.environ.get("EVOMOE_PEERS", str(ROOT.parent / "shared/peers")),
                        help="folder of bench_parallel.py (default: EVOMOE_PEERS, or ../shared/peers)")
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="Python with torch, for the peers")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="keep what an interrupted run measured")
    args = parser.parse_args()
    kept = Kept(ROOT / "build/scaling/results.jsonl", args.go_on)
    program = Program(args.evomoe, kept)
    ranks_list = [int(text) for text in args.ranks.split(",")]
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        machine, links = measure_machine(program, Path(name), args.rounds, cores)
        told = machine.read_text(encoding="utf-8")
        whole = step(program, 1, 8, 1, 0, threads=min(2, cores), rounds=args.rounds)
        single = step(program, 1, 4, 1, 0, rounds=args.rounds)
        strong, strong_gaps = rows_of_layouts(program, machine, lambda ranks: 8, ranks_list, args.rounds,
                                              whole["tokens_per_s"])
        weak, weak_gaps = rows_of_layouts(program, machine, lambda ranks: 4 * ranks, ranks_list, args.rounds,
                                          single["tokens_per_s"])
        peers = Path(args.peers)
        if (peers / "bench_parallel.py").is_file():
            beside = beside_peers(program, Program(args.python, kept), peers, args.rounds)
        else:
            progress(f"no bench_parallel.py in {peers}: ours is measured alone")
            beside = "Not measured: there were no peers."
        slow_link = over_a_link(program, kept, args.rounds)
        large = large_table(program)
    within = len([ranks for ranks in ranks_list if ranks <= cores]) * len(LAYOUTS)
    bytes_gap = max(strong_gaps["bytes"] + weak_gaps["bytes"])
    time_gap = max(strong_gaps["time"][:within] + weak_gaps["time"][:within], default=float("nan"))
    link_rows = [[name, f"{line['sent_gbs']:.2f}", f"{line['latency_ms']:.3f}"] for name, line in links.items()]
    core_rows = f"{bytes_gap:.1%}", f"{time_gap:.0%}"
    parts = [
        "# Scaling",
        f"""`make scaling` (`scripts/scaling.py`) writes this page from what it measured: do not edit it. Measured on
        {date.today()}, {platform.machine()} with {cores} cores; each rank has one thread. With more ranks than cores there
        is overhead to be seen, no scaling. *Sent*: MiB of a rank in an update, as the program counts them; *by formula*,
        `evomoe plan`'s; *on loopback*, what the system counted, with the headers of its packets.""",
        f"""The model is `small` of `evomoe bench step`: 8 layers of width 256, 8 experts in every second one, one for each
        token. Sent bytes differ from the formula by {core_rows[0]} at most, as routers do not choose evenly. The computed
        time differs from the measured one by {core_rows[1]} at most, where each rank has a core.""",
        "## The same update by more ranks",
        f"""2,048 tokens an update; beside one process with {min(2, cores)} threads, {whole['ms_median']:.0f} ms.""",
        table(HEADINGS, strong, 2),
        "## As many tokens for each rank",
        f"""1,024 tokens an update for each rank; beside as many times one process with one thread,
        {single['ms_median']:.0f} ms.""",
        table(HEADINGS, weak, 2),
        "## Beside PyTorch",
        f"""The update of `small` by two ranks of one thread each, in {args.rounds} round{'s' if args.rounds > 1 else ''}; `ddp` DistributedDataParallel,
        `ep` experts divided by hand with all-to-all, `fsdp2` fully_shard (ours: `--zero-stage 3`). Its balance loss is that
        of the whole batch, ours the micro-batch's, so that last losses of mixtures differ a little.""",
        beside,
        f"## Over a link of {RATE}",
        *slow_link,
        "## Messages",
        "Two ranks, 16 MiB each; *sent* as messages go round a ring.",
        table(("operation", "sent GB/s", "one word, ms"), link_rows, 1),
        "The machine as the plan was told of it:",
        f"```yaml\n{told.rstrip()}\n```",
        "## Machines that were not there",
        """**Computed, not measured**, by `evomoe plan`: the fastest layout that fits, for a mixture of 32 layers of width
        4,096 with 64 experts in every second one, one for each token; 32,768 tokens of each rank an update.""",
        large]
    as_they_are = ("|", "```", "#")  # tables, code and headings are lines already
    parts = [part if part.startswith(as_they_are) else filled(part) for part in parts]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    progress(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
