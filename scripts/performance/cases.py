"""What is measured: the processes of each case, ours and the peers'.

Sizes are those of the project's goals for speed; repeats are chosen so that five rounds take about half an hour on two
cores.
"""

from dataclasses import dataclass

# Names of commands. PEERS are those that were fastest, MORE_PEERS the slower ones: they run in the first round only.
OURS, BY_VENDOR, PEERS, MORE_PEERS, AUTHORS = "ours", "by vendor", "peers", "more peers", "authors"
RECOMPUTE = "ours, recomputing"
HALF = "half the tokens"


@dataclass(frozen=True)
class Command:
    """One process of a round."""

    name: str              # tells it from the others of its case
    program: str           # evomoe, a file of the peers, or a file of this folder
    arguments: str
    environment: tuple = ()  # (name, value) pairs
    rounds: int = 0        # only in so many first rounds; 0: in all
    busy_cores: int = 0    # so many other processes compute meanwhile


@dataclass(frozen=True)
class Case:
    """Processes that are compared with each other; they run one after the other in every round."""

    name: str
    commands: tuple


@dataclass(frozen=True)
class Group:
    """A table of the page: cases with the same columns."""

    title: str
    remark: str
    columns: tuple  # keys of page.COLUMNS
    cases: tuple


def ours(arguments, name=OURS, rounds=0):
    return Command(name, "evomoe", "bench " + arguments, rounds=rounds)


def by_vendor(arguments):
    """Ours with the matrix products that PyTorch's process gets: what the rest of the work gives."""
    return Command(BY_VENDOR, "evomoe", "bench " + arguments, (("EVOMOE_MKL_BY_VENDOR", "1"),), rounds=1)


def layer_sizes(tokens, dim, hidden, experts, topk):
    return f"--tokens {tokens} --dim {dim} --hidden {hidden} --experts {experts} --topk {topk}"


@dataclass(frozen=True)
class Layer:
    sizes: tuple   # tokens, dim, hidden, experts, topk
    repeats: int
    peers: str     # the fastest
    more_peers: str
    beside_authors: bool = False
    recompute: bool = False  # ours also with --recompute-experts: less memory, more time
    gated: bool = False      # experts have three matrices without biases; otherwise two with biases

    @property
    def flags(self):
        return layer_sizes(*self.sizes) + (" --ffn swiglu" if self.gated else "")

    @property
    def label(self):
        return "S{} M{} H{} E{} k{}".format(*self.sizes) + (", gated" if self.gated else "")


# name: sizes, repeats, the peers that were fastest, and others for the first round
LAYERS = {
    "layer-E8-k1": Layer((2048, 512, 2048, 8, 1), 8, "torch_loop,torch_grouped_mm",
                         "torch_loop_compiled,hf_switch,hf_mixtral:grouped_mm"),
    "layer-E8-kE": Layer((2048, 512, 2048, 8, "E"), 3, "torch_loop", "torch_fused_dense", recompute=True),
    "layer-E16-k1": Layer((8192, 256, 1024, 16, 1), 8, "torch_loop", "torch_grouped_mm", beside_authors=True,
                          recompute=True),
    "layer-E16-k2": Layer((1024, 768, 3072, 16, 2), 8, "torch_loop", "torch_grouped_mm"),
    "layer-E64-k4": Layer((2048, 256, 256, 64, 4), 15, "torch_grouped_mm", "torch_loop"),
    "layer-E64-k1": Layer((256, 512, 2048, 64, 1), 6, "hf_switch", "torch_loop,torch_grouped_mm,hf_mixtral:grouped_mm"),
    "layer-gated-E8-k1": Layer((2048, 512, 1024, 8, 1), 8, "torch_loop,hf_olmoe:grouped_mm",
                               "torch_grouped_mm,hf_mixtral:grouped_mm", gated=True),
    "layer-gated-E64-k1": Layer((256, 512, 1024, 64, 1), 6, "torch_loop,hf_olmoe:grouped_mm",
                                "torch_grouped_mm,hf_mixtral:grouped_mm", gated=True),
}
# Of experts of the common kind. With every expert in use there is nothing to skew.
SKEWED = tuple(name for name, layer in LAYERS.items() if name != "layer-E8-kE" and not layer.gated)


def layer_case(name):
    layer = LAYERS[name]
    own = f"layer {layer.flags} --warmup 2 --repeats {layer.repeats} --peak-seconds 1"
    peer_repeats = (layer.repeats + 1) // 2
    commands = [ours(own), by_vendor(own), peer_layer(PEERS, layer.peers, layer.flags, peer_repeats),
                peer_layer(MORE_PEERS, "dense_ffn," + layer.more_peers, layer.flags, peer_repeats, rounds=1)]
    if layer.recompute:
        commands.append(ours(own + " --recompute-experts", RECOMPUTE, rounds=1))
    if layer.beside_authors:
        # The layout of its dense-to-sparse stage has the same name in front; it would need 25 GiB.
        commands.append(peer_layer(AUTHORS, "reference", layer.flags, 1, " --max-gib 8"))
    return Case(name, tuple(commands))


def peer_layer(name, implementations, flags, repeats, more="", rounds=0):
    """Outputs and gradients are compared with ours by checksums, so that the peers' own slow check is left out."""
    return Command(name, "bench_layer.py", f"--impl {implementations} {flags} --no-check --no-table "
                   f"--warmup 1 --repeats {repeats}{more}", rounds=rounds)


def skewed_case(name):
    layer = LAYERS[name]
    own = f"layer {layer.flags} --warmup 2 --repeats {layer.repeats} --peak-seconds 0 --skew "
    return Case(name + "-skew", (ours(own + "balanced", "balanced"), ours(own + "zipf", "zipf")))


DTS = (2048, 512, 2048, 8, 1)
# Phases of the gate: all experts, falling temperatures, one expert with noise.
PHASES = ("all", "0.5", "0.2", "0.05", "hard")


def step_case(suite, own_repeats, peer_repeats, peers, more_peers):
    own = f"step --suite {suite} {own_repeats} --peak-seconds 1"
    peer = f"--suite {suite} --keep-heap --no-table {peer_repeats}"
    return Case(f"step-{suite}", (
        ours(own),
        by_vendor(own),
        Command(PEERS, "bench_step.py", f"--variant {peers} {peer}"),
        Command(MORE_PEERS, "bench_step.py", f"--variant {more_peers} {peer}", rounds=1),
    ))


# A small model: thousands of short parallel regions, each as late as its slowest thread.
BUSY_MODEL = ("--layers 4 --dim 64 --heads 4 --ffn 256 --experts 8 --topk 1 "
              "--moe-freq 1 --vocab 4096 --seq 256 --batch 8")
# --threads of ours and of the peer; "": what it does without the option.
CHOSEN = "chosen"
BUSY_THREADS = {"": CHOSEN, "--threads 1": "1 thread", "--threads 2": "2 threads"}
BUSY_PEERS = tuple("peer, " + BUSY_THREADS[option] for option in ("--threads 1", "--threads 2"))


def busy_case(name, busy_cores):
    commands = []
    for option, told in BUSY_THREADS.items():
        own = f"bench step {BUSY_MODEL} --warmup 40 --steps 60 --peak-seconds 0 {option}".rstrip()
        commands.append(Command(told, "evomoe", own, rounds=3, busy_cores=busy_cores))
    for name_of_peer, option in zip(BUSY_PEERS, ("--threads 1", "--threads 2")):
        peer = f"--variant moe_grouped {BUSY_MODEL} --keep-heap --no-table --warmup 10 --steps 40 --peak-seconds 0"
        commands.append(Command(name_of_peer, "bench_step.py", f"{peer} {option}", rounds=3, busy_cores=busy_cores))
    return Case(name, tuple(commands))


# Two processes of one thread each; the name of a layout is that of the peers' implementation of its kind.
ONE_PROCESS = "1 process, 2 threads"
LAYOUTS = {"ddp": "--expert-parallel-size 1", "ep": "--expert-parallel-size 2",
           "fsdp2": "--expert-parallel-size 1 --zero-stage 3"}


def parallel_case(name, model, layouts, peers_model):
    own = f"step --suite small {model}--warmup 2 --steps 6 --peak-seconds 0"
    two = own + " --distributed-world-size 2 --threads 1 "
    peers = (f"--suite small --impl {' '.join(layouts)} --model {peers_model} --ranks 2 --threads 1 --warmup 2 "
             "--steps 6 --peak-seconds 0 --keep-heap --no-table")
    return Case(name, (ours(own + " --threads 2", ONE_PROCESS),
                       *(ours(two + LAYOUTS[layout], layout) for layout in layouts),
                       Command(PEERS, "bench_parallel.py", peers)))


GENERATE = "--suite small --warmup 1"
EVERY = ("case", "impl", "ms", "beside", "gflops", "share", "peers_share", "mib", "rounds")

GROUPS = (
    Group("One MoE layer, forward and backward",
          "`dense_ffn` is a feed-forward network of the same active size without routing, as a yardstick. "
          "`reference` is the authors' algorithm: dispatch by one-hot tensors with capacity. Experts marked "
          "*gated* have three matrices instead of two: they are compared by GFLOP/s.",
          EVERY, tuple(layer_case(name) for name in LAYERS)),
    Group("The same layers under balanced and Zipf-skewed loads", "",
          ("label", "ms", "gflops", "share_of_memory", "largest_load", "mib", "rounds"),
          tuple(skewed_case(name) for name in SKEWED)),
    Group("The dense-to-sparse gate on its way",
          "Phases: all experts, falling temperatures, one expert (with noise). `reference:dts` is the authors' layout "
          "of this stage, in which every expert computes every token.",
          ("label", "impl", "active", "ms", "ms_per_active", "gflops", "mib", "rounds"), (
              Case("dts", tuple(
                  ours(f"layer {layer_sizes(*DTS)} --dts {phase} --warmup 1 --repeats 5 --peak-seconds 0", phase)
                  for phase in PHASES) + (
                      ours(f"layer {layer_sizes(*DTS)} --dts hard --recompute-experts --warmup 1 --repeats 5 "
                           "--peak-seconds 0", RECOMPUTE, rounds=1),
                      peer_layer(AUTHORS, "reference:dts", layer_sizes(*DTS), 1))),)),
    Group("A training step",
          "Peers keep freed heap blocks (`--keep-heap`). Beyond: MiB besides the 16 bytes per parameter of weights, "
          "gradients and Adam. `dense_gpt` is a dense model of the same active size, as a yardstick. The Hugging Face "
          "models have about the same active and total size.",
          ("case", "impl", "ms", "beside", "gflops", "share", "peers_share", "mib", "beyond", "rounds"),
          (step_case("small", "--warmup 2 --steps 6", "--warmup 1 --steps 3", "moe_grouped",
                     "moe_loop,moe_loop_compiled,moe_grouped_compiled,hf_mixtral:eager,dense_gpt"),
           step_case("gpt2s", "--warmup 1 --steps 2", "--warmup 1 --steps 2", "moe_loop", "hf_olmoe:grouped_mm"))),
    Group("A training step with more experts",
          "`small` with 4 and with 64 experts in its MoE layers: the same tokens and the same active parameters.",
          ("command", "ms", "forward_backward", "optimizer", "gflops", "mib", "beyond", "rounds"),
          (Case("step-experts", (
              ours("step --suite small --experts 4 --warmup 2 --steps 6 --peak-seconds 0", "E = 4"),
              ours("step --suite small --experts 64 --warmup 2 --steps 6 --peak-seconds 0", "E = 64"))),)),
    Group("A training step while another program computes",
          "A model of width 64 (`books_small`), on an idle machine and with one more process that keeps a core busy. "
          "Without `--threads` the number of threads is chosen by measurement. Milliseconds are means over the steps "
          "for ours, so that what the choice costs is in them.",
          ("name", "command", "impl", "mean", "tokens_per_s", "rounds"),
          (busy_case("busy-idle", 0), busy_case("busy-one-core", 1))),
    Group("Two processes of one thread each",
          "The update of `small` by two ranks, beside the same update by one process. `ddp`: each rank has the whole "
          "model; `ep`: the ranks share the experts; `fsdp2`: they share all parameters (ours: `--zero-stage 3`). "
          "Sent: MiB of a rank in an update, as messages go round a ring, and as the loopback interface counted them.",
          ("name", "command", "impl", "ranks", "ms", "tokens_per_s", "mib", "sent", "on_loopback", "last_loss",
           "rounds"),
          (parallel_case("parallel-dense", "--moe-freq 0 ", ("ddp", "fsdp2"), "dense_gpt"),
           parallel_case("parallel-moe", "", ("ddp", "ep", "fsdp2"), "moe_loop"))),
    Group("Output projection and cross-entropy",
          "`eager` is the plain form that holds all logits, in the same process as ours.",
          ("label", "impl", "ms", "gflops", "share", "mib", "rounds"),
          (Case("loss", (
              ours("loss --suite gpt2s --warmup 1 --repeats 3 --peak-seconds 1"),
              ours("loss --tokens 512 --dim 768 --vocab 50257 --warmup 1 --repeats 1 --peak-seconds 0", HALF,
                   rounds=1))),)),
    Group("Reading binarised data", "Wait: the part of a training step in which it waits for its batch.",
          ("label", "impl", "ms", "tokens_per_s", "wait", "rounds"),
          (Case("data", (ours("data --suite small --warmup 1 --repeats 5 --peak-seconds 0"),)),)),
    Group("Generation with a key-value cache, one text",
          "`hf_gpt2` is the dense model of the same layers by Hugging Face, beside our dense model; `hf_olmoe` and "
          "`hf_mixtral` are mixtures of about the same active and total size.",
          ("case", "impl", "tokens_per_s", "ms", "beside", "rounds"), (
              Case("generate", (
                  ours(f"generate {GENERATE} --repeats 5 --peak-seconds 0"),
                  Command(PEERS, "hf_generate.py",
                          f"{GENERATE} --repeats 3 --models olmoe:eager,mixtral:eager"))),
              Case("generate-dense", (
                  ours(f"generate {GENERATE} --moe-freq 0 --positions learned --repeats 5 --peak-seconds 0"),
                  Command(PEERS, "hf_generate.py", f"{GENERATE} --repeats 3 --models gpt2"))),
          )),
    Group("Asynchronous checkpoints of `gpt2s`",
          "The same training without and with checkpoints, in alternation in one process.",
          ("label", "impl", "ms", "slower", "pause", "save_call", "checkpoint", "mib", "rounds"),
          (Case("checkpoint", (ours("checkpoint --suite gpt2s --warmup 1 --repeats 1 --save-interval 10 "
                                    "--peak-seconds 0", rounds=1),)),)),
)
