"""How fast it has to be: the project's goals as data, one entry a row of the page's first table."""

import re
from dataclasses import dataclass
from typing import Callable

from cases import (AUTHORS, BUSY_PEERS, BUSY_THREADS, CHOSEN, HALF, LAYERS, ONE_PROCESS, OURS, PEERS, PHASES, RECOMPUTE,
                   SKEWED)
from figures import (beside_best, best_peer, beyond_ratio, ratio, share_of_peak, speed_of_choice, spread, times_faster,
                     value, worst_slope)


@dataclass(frozen=True)
class Goal:
    what: str
    beside: str
    figure: Callable      # of a Round
    form: str             # "{:.2f}", with the unit behind it
    at_least: float = None
    at_most: float = None
    notes: tuple = ()     # (form, figure): told behind the measured figure

    @property
    def asked(self):
        bound = self.at_least if self.at_most is None else self.at_most
        return ("≥ " if self.at_most is None else "≤ ") + re.sub(r"{.*?}", f"{bound:g}", self.form)

    def met(self, measured):
        return measured >= self.at_least if self.at_most is None else measured <= self.at_most


PEAK = "sgemm peak of its own process"
BEST = "best peer"


def authors(what, case, times, command=OURS):
    beside = "the authors' algorithm"
    memory = ratio(value(case, "peak_mem_mb", command=command), best_peer(case, "peak_mem_mb", AUTHORS))
    recomputing = ratio(value(case, "peak_mem_mb", command=RECOMPUTE), best_peer(case, "peak_mem_mb", AUTHORS))
    return [Goal(what + ", time", beside, times_faster(case, AUTHORS, command), "{:.1f} × faster", at_least=times),
            Goal(what + ", memory", beside, memory, "{:.3f} of its memory", at_most=1 / 8),
            Goal("the same with --recompute-experts", beside, recomputing, "{:.3f} of its memory", at_most=1 / 8)]


def step(suite):
    what, case = f"training step `{suite}`", f"step-{suite}"
    return [Goal(what, BEST, times_faster(case), "{:.2f} × faster", at_least=1.25),
            Goal(what, PEAK, share_of_peak(case), "{:.3f}", at_least=0.75),
            Goal(what + ", memory beyond weights, gradients and Adam", "least of any peer", beyond_ratio(case),
                 "{:.2f} of it", at_most=0.4)]


def skewed(name):
    case = name + "-skew"
    return Goal(f"layer {LAYERS[name].label}, Zipf-skewed loads", "itself, balanced",
                ratio(value(case, "ms_median", command="zipf"), value(case, "ms_median", command="balanced")),
                "{:.2f} × the time", at_most=1.1)


def busy(what, case):
    fixed = [name for name in BUSY_THREADS.values() if name != CHOSEN]
    return Goal(f"step of a small model, {what}, threads chosen", "the better of 1 and 2 threads",
                speed_of_choice(case, CHOSEN, fixed), "{:.2f} of its speed", at_least=0.95,
                notes=(("{:.2f} × the peer", beside_best(case, CHOSEN, BUSY_PEERS)),))


def parallel(what, case, layout, model):
    ours, theirs = value(case, "ms_median", command=layout), value(case, "ms_median", f"{layout}:{model}", command=PEERS)
    alone = value(case, "ms_median", command=ONE_PROCESS)
    return [Goal(f"{what}, 2 ranks of 1 thread", f"PyTorch's {layout}", ratio(theirs, ours), "{:.2f} × faster",
                 at_least=1.25),
            Goal("the same", "our one process with 2 threads", ratio(alone, ours), "{:.2f} of its speed",
                 at_least=0.92)]


def layer(name, at_least):
    return Goal(f"layer {LAYERS[name].label}", PEAK, share_of_peak(name), "{:.3f}", at_least=at_least)


def gated(name, without):
    """As much faster than its best peer as experts without gates are than theirs."""
    times = times_faster(name)
    return Goal(f"layer {LAYERS[name].label}", f"{BEST}, as without gates", ratio(times, times_faster(without)),
                "{:.2f} × that ratio", at_least=1, notes=(("{:.2f} × faster", times),))


def logits_of_more_tokens(r):
    """Memory that 512 tokens more take in the loss, over that of their logits."""
    more = r.value("loss", "peak_mem_mb", "evomoe") - r.first.value("loss", "peak_mem_mb", "evomoe", HALF)
    return more / (4 * 512 * 50257 / 2**20)


GOALS = (
    layer("layer-E8-k1", 0.88),
    layer("layer-E8-kE", 0.88),
    Goal("the same, memory", "", value("layer-E8-kE", "peak_mem_mb"), "{:.0f} MiB", at_most=250),
    Goal("the same with --recompute-experts", "", value("layer-E8-kE", "peak_mem_mb", command=RECOMPUTE), "{:.0f} MiB",
         at_most=250, notes=(("at {:.2f} of the peak", value("layer-E8-kE", "sgemm_fraction", command=RECOMPUTE)),)),
    layer("layer-E16-k1", 0.82),
    layer("layer-E16-k2", 0.80),
    layer("layer-E64-k4", 0.72),
    Goal(f"layer {LAYERS['layer-E64-k1'].label}", BEST, times_faster("layer-E64-k1"), "{:.2f} × faster", at_least=2.5,
         notes=(("weights move at {:.2f} of the measured memory speed", value("layer-E64-k1", "memory_fraction")),)),
    gated("layer-gated-E8-k1", "layer-E8-k1"),
    gated("layer-gated-E64-k1", "layer-E64-k1"),
    *[skewed(name) for name in SKEWED],
    *authors("top-1, S8192 M256 H1024 E16", "layer-E16-k1", 11),
    *authors("DTS with 1 active of 8, S2048 M512 H2048", "dts", 14, "hard"),
    Goal("DTS at k active of E: time ∝ k", "itself with all active",
         worst_slope("dts", PHASES), "{:.2f} off at most", at_most=0.10),
    *step("small"),
    *step("gpt2s"),
    Goal("top-1 step with E = 64, apart from the optimiser", "E = 4, same tokens",
         ratio(value("step-experts", "forward_backward_ms", command="E = 64"),
               value("step-experts", "forward_backward_ms", command="E = 4")), "{:.2f} × the time", at_most=1.10),
    busy("idle machine", "busy-idle"),
    busy("one core busy", "busy-one-core"),
    *parallel("data parallel, dense model", "parallel-dense", "ddp", "dense_gpt"),
    *parallel("data parallel, mixture", "parallel-moe", "ddp", "moe_loop"),
    *parallel("expert parallel", "parallel-moe", "ep", "moe_loop"),
    *parallel("sharded (ZeRO-3), mixture", "parallel-moe", "fsdp2", "moe_loop"),
    Goal("projection + cross-entropy, V=50257", PEAK, value("loss", "sgemm_fraction", "evomoe"), "{:.3f}",
         at_least=0.95, notes=(("{:.2f} × the speed of eager, which holds all logits",
                                ratio(value("loss", "ms_median", "eager"), value("loss", "ms_median", "evomoe"))),)),
    Goal("the same, memory of 512 tokens more", "their logits", logits_of_more_tokens, "{:.2f} of it", at_most=0.1),
    Goal("reading binarised data", "a training step", value("data", "wait_percent", "evomoe:training"),
         "{:.2f} % of it waited for", at_most=0.5),
    Goal("generation with cache, batch 1", "Hugging Face generate, best of OLMoE and Mixtral",
         times_faster("generate"), "{:.2f} × tokens/s", at_least=2),
    Goal("generation with cache, batch 1, dense model", "Hugging Face generate, GPT-2", times_faster("generate-dense"),
         "{:.2f} × tokens/s", at_least=2),
    # One that costs the time of x steps makes a run x % slower that saves every 100 steps.
    Goal("asynchronous checkpoint of `gpt2s` every 100 steps", "same run without",
         value("checkpoint", "steps_per_checkpoint", "evomoe:asynchronous-checkpoint"), "{:.1f} % slower", at_most=1),
    Goal("the same, longest pause", "a training step",
         value("checkpoint", "longest_pause_steps", "evomoe:asynchronous-checkpoint", 100), "{:.0f} % of it",
         at_most=5),
)


def told(goal, rounds):
    """(measured, spread, rounds, met) of a goal as text."""
    measured = spread(goal.figure, rounds)
    if measured is None:
        return "not measured", "", "", ""
    text = goal.form.format(measured.median)
    for form, figure in goal.notes:
        noted = spread(figure, rounds)
        text += "; " + form.format(noted.median) if noted else ""
    number = goal.form.split("}")[0] + "}"
    extremes = f"{number.format(measured.low)} – {number.format(measured.high)}" if measured.rounds > 1 else ""
    return text, extremes, str(measured.rounds), "yes" if goal.met(measured.median) else "**no**"
