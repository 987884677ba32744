"""How time and memory per token grow: what is swept, the shape expected, and why the measured one differs."""

import os
from dataclasses import dataclass
from statistics import median
from typing import Callable

from cases import OURS, Case, layer_sizes, ours
from plots import Panel, Point, number

AGREES = 0.10  # a difference below this needs no reason
ROUNDS = 1
QUICK = "--warmup 2 --repeats 10 --peak-seconds 0"


@dataclass(frozen=True)
class Quantity:
    """What a panel shows. `expected(at, x)` is per token like the measured; `at` are the results by x."""

    title: str
    expected: Callable
    expectation: str          # a sentence about that shape
    above: Callable = lambda x: ""  # why it lies above that shape at an x; "": not known
    below: Callable = lambda x: ""  # why it lies below


@dataclass(frozen=True)
class Sweep:
    name: str
    title: str
    x_label: str
    arguments: dict  # x: of evomoe bench
    tokens: Callable  # of a repeat, by x
    time: Quantity
    memory: Quantity

    def case_name(self, x):
        return f"growth-{self.name}-{x}"

    def cases(self):
        return tuple(Case(self.case_name(x), (ours(arguments, rounds=ROUNDS),))
                     for x, arguments in self.arguments.items())


# --- measured ---

def microseconds(lines, tokens):
    """The fastest repeat, which nothing disturbed: it shows the shape best. The bar reaches up to the median."""
    fastest = min(line["ms_min"] for line in lines)
    return 1e3 * fastest / tokens, 1e3 * fastest / tokens, 1e3 * median(line["ms_median"] for line in lines) / tokens


def kibibytes(lines, tokens):
    values = [1024 * line["peak_mem_mb"] / tokens for line in lines]
    return median(values), min(values), max(values)


class Measured:
    """The points of a sweep. Used by the expected shapes: time and memory per token at an x, machine speeds."""

    def __init__(self, sweep, records):
        self._tokens = sweep.tokens
        self._lines = {}
        for x in sweep.arguments:
            lines = [line for same in records.lines(sweep.case_name(x), OURS).values() for line in same]
            if lines:
                self._lines[x] = lines
        self.xs = sorted(self._lines)

    def point(self, x, unit):
        return Point(x, *unit(self._lines[x], self._tokens(x)))

    def time(self, x):
        return self.point(x, microseconds).y

    def memory(self, x):
        return self.point(x, kibibytes).y

    def rate(self, x):
        """GFLOP/s of the fastest repeat."""
        return max(line["useful_gflop"] / line["ms_min"] * 1e3 for line in self._lines[x])

    def traffic(self, x, weight_bytes):
        """Microseconds per token for moving these weights: read in both passes, the gradient written."""
        speed = max(line["memory_gbs"] for lines in self._lines.values() for line in lines)
        return 3 * weight_bytes / (1e3 * speed) / self._tokens(x)


def panels(sweep, at):
    return tuple(
        Panel(quantity.title, sweep.x_label, label,
              tuple(at.point(x, unit) for x in at.xs),
              tuple((x, quantity.expected(at, x)) for x in at.xs))
        for quantity, label, unit in ((sweep.time, "µs per token", microseconds),
                                      (sweep.memory, "KiB per token", kibibytes)))


def sentence(quantity, panel):
    """What was expected, where measured differs most from it, and the reason."""
    ratios = {point.x: point.y / expected for point, (_, expected) in zip(panel.measured, panel.expected)}
    worst = max(ratios, key=lambda x: abs(ratios[x] - 1))
    told = f"{quantity.title}: {quantity.expectation} "
    if abs(ratios[worst] - 1) <= AGREES:
        return told + f"Measured agrees within {100 * abs(ratios[worst] - 1):.0f} %."
    reason = (quantity.above if ratios[worst] > 1 else quantity.below)(worst)
    return told + (f"Measured is {ratios[worst]:.2f} times that ({panel.x_label}: {number(worst)}): "
                   f"{reason or 'the reason is not known'}.")


# --- what is swept ---

WIDTH, HIDDEN, TOKENS, EXPERTS = 256, 1024, 2048, 16
EXPERT_BYTES = 4 * 2 * WIDTH * HIDDEN


def layer(tokens=TOKENS, experts=EXPERTS, topk=1):
    return f"layer {layer_sizes(tokens, WIDTH, HIDDEN, experts, topk)} {QUICK}"


def doublings(first, last):
    values = [first]
    while values[-1] * 2 <= last:
        values.append(values[-1] * 2)
    return values


def few_rows(rows):
    """The reason where experts have few rows. `rows` of an expert, by x."""
    def reason(x):
        few = rows(x) < 256
        return f"an expert has {rows(x)} rows there, and products of few rows run below the peak" if few else ""
    return reason


def always(reason):
    return lambda x: reason


def attention(at, x):
    """Microseconds per token of what a sequence of x tokens needs more than the shortest: 6 L d operations a token and
    position, the masked half left out."""
    layers, dim = 8, 256
    return 6e-3 * layers * dim * (x - at.xs[0]) / at.rate(at.xs[0])


CACHED = always("weights that fit in the cache are not read from memory")
BUSY_CORES = always("the cores share memory and cache, and wait for each other at the end of every product")
STEP = "step --suite small --warmup 2 --steps 5 --peak-seconds 0"

SWEEPS = (
    Sweep(
        "experts", f"More experts (M{WIDTH} H{HIDDEN}, {TOKENS} tokens, k = 1)", "experts",
        {x: layer(experts=x) for x in doublings(4, 128)}, lambda x: TOKENS,
        Quantity("Time", lambda at, x: at.time(at.xs[0]) + at.traffic(x, EXPERT_BYTES * (x - at.xs[0])),
                 "the products stay the same; every expert more is read twice and its gradient is written once.",
                 above=few_rows(lambda x: TOKENS // x), below=CACHED),
        Quantity("Memory", lambda at, x: at.memory(at.xs[0]) + 2 * EXPERT_BYTES * (x - at.xs[0]) / TOKENS / 1024,
                 "weights and gradients of every expert more, nothing else.")),
    Sweep(
        "tokens", f"More tokens (M{WIDTH} H{HIDDEN} E{EXPERTS}, k = 1)", "tokens",
        {x: layer(tokens=x) for x in doublings(512, 16384)}, lambda x: x,
        Quantity("Time", lambda at, x: at.time(at.xs[-1]) + at.traffic(x, EXPERTS * EXPERT_BYTES)
                 - at.traffic(at.xs[-1], EXPERTS * EXPERT_BYTES),
                 "constant, and the traffic of the weights shared by all tokens.",
                 above=few_rows(lambda x: x // EXPERTS), below=CACHED),
        Quantity("Memory",
                 lambda at, x: at.memory(at.xs[-1]) + 2 * EXPERTS * EXPERT_BYTES / 1024 * (1 / x - 1 / at.xs[-1]),
                 "constant, and weights and gradients shared by all tokens.")),
    Sweep(
        "topk", f"More experts per token (M{WIDTH} H{HIDDEN} E{EXPERTS}, {TOKENS} tokens)", "experts per token",
        {x: layer(topk=x) for x in doublings(1, EXPERTS)}, lambda x: TOKENS,
        Quantity("Time", lambda at, x: at.time(at.xs[-1]) * x / at.xs[-1], "in proportion to k.",
                 above=always("router, weight traffic and passes over the tokens do not shrink with k, and products "
                              "get shorter")),
        Quantity("Memory", lambda at, x: at.memory(at.xs[0]) + (x - at.xs[0]) * 4 * HIDDEN / 1024,
                 "the hidden pre-activation of every (token, expert) pair more is kept, nothing else.",
                 above=always("experts that run side by side and share tokens keep their rows of output until all are "
                              "done, and working buffers grow with an expert's rows"))),
    Sweep(
        "sequence", f"Longer sequences (training step of `small`, {TOKENS} tokens)", "tokens of a sequence",
        {x: f"{STEP} --seq {x} --batch {TOKENS // x}" for x in doublings(128, TOKENS)}, lambda x: TOKENS,
        Quantity("Time", lambda at, x: at.time(at.xs[0]) + attention(at, x),
                 "attention grows with the length (its masked half is not computed), at the shortest one's rate.",
                 above=always("attention's softmax and short products run below the rate of the large products")),
        Quantity("Memory", lambda at, x: at.memory(at.xs[0]), "constant: no length x length matrix is kept.")),
    Sweep(
        "threads-layer", f"More threads (layer M512 H2048 E8 k = 1, {TOKENS} tokens)", "threads",
        {x: f"layer {layer_sizes(TOKENS, 512, 2048, 8, 1)} {QUICK} --threads {x}"
         for x in doublings(1, os.cpu_count() or 1)}, lambda x: TOKENS,
        Quantity("Time", lambda at, x: at.time(1) / x, "in inverse proportion to the threads.", above=BUSY_CORES),
        Quantity("Memory", lambda at, x: at.memory(1), "constant.",
                 above=always("every thread has working buffers of its own"))),
    Sweep(
        "threads-step", "More threads (training step of `small`)", "threads",
        {x: f"{STEP} --threads {x}" for x in doublings(1, os.cpu_count() or 1)}, lambda x: TOKENS,
        Quantity("Time", lambda at, x: at.time(1) / x, "in inverse proportion to the threads.", above=BUSY_CORES),
        Quantity("Memory", lambda at, x: at.memory(1), "constant.",
                 above=always("every thread has working buffers of its own"))),
)
