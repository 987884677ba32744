"""How a figure of the goals is made from the results of one round.

A figure is a function of a Round that returns a number. It is made for every round by itself, so that what is compared
was measured within minutes; `spread` tells its median and its extremes over the rounds.
"""

import statistics
from collections import namedtuple

from cases import LAYERS, MORE_PEERS, OURS, PEERS
from records import Missing

Spread = namedtuple("Spread", "median low high rounds")

# Measured beside the others, but no mixture of experts.
YARDSTICKS = ("dense_ffn", "dense_gpt", "sgemm")


def spread_of(values):
    return Spread(statistics.median(values), min(values), max(values), len(values))


def spread(figure, rounds):
    """Over the rounds that have what the figure needs; None when none has."""
    values = []
    for one in rounds:
        try:
            values.append(figure(one))
        except Missing:
            continue
    return spread_of(values) if values else None


def value(case, key, impl=None, scale=1.0, command=OURS):
    return lambda r: scale * r.value(case, key, impl, command)


def share_of_peak(case):
    return value(case, "sgemm_fraction")


def ratio(above, below):
    """One figure over another of the same round."""
    return lambda r: above(r) / below(r)


def peers(r, case, command=PEERS):
    """The peers' lines that compute the same as ours: experts have gates where ours do."""
    lines = list(r.all(case, command))
    if command == PEERS:
        # Slower ones are measured in the first round only, but the best of all is asked for.
        try:
            lines += r.first.all(case, MORE_PEERS)
        except Missing:
            pass
    gated = case in LAYERS and LAYERS[case].gated
    lines = [line for line in lines if line["impl"] not in YARDSTICKS and (line.get("ffn") == "swiglu") == gated]
    if not lines:
        raise Missing(f"{case} {command}")
    return lines


def best_peer(case, key, command=PEERS):
    """The smallest `key` among the peers."""
    return lambda r: min(line[key] for line in peers(r, case, command))


def times_faster(case, others=PEERS, command=OURS):
    """The best peer's time over ours."""
    return ratio(best_peer(case, "ms_median", others), value(case, "ms_median", command=command))


def mib_beyond_training_state(line):
    """MiB beyond weights, gradients and Adam's two moments."""
    return line["peak_mem_mb"] - 16 * line["parameters"] / 2**20


def beyond_ratio(case):
    """Our memory beyond weights, gradients and Adam over the least of any peer."""
    def figure(r):
        (ours,) = r.all(case)
        least = min(mib_beyond_training_state(line) for line in peers(r, case))
        return mib_beyond_training_state(ours) / least
    return figure


def speed_of_choice(case, chosen, fixed):
    """Speed with the chosen number of threads, over that of the best fixed one. Means: the choice's cost is in them."""
    def figure(r):
        return min(r.value(case, "ms_mean", command=name) for name in fixed) / r.value(case, "ms_mean", command=chosen)
    return figure


def beside_best(case, command, others):
    """The time of the fastest of several commands of peers over ours."""
    return lambda r: min(r.value(case, "ms_median", command=name) for name in others) / r.value(case, "ms_mean",
                                                                                              command=command)


def worst_slope(case, phases):
    """Largest difference of the time per active expert from that of the first phase, in which all are active."""
    def figure(r):
        full, *others = [r.value(case, "ms_per_active_expert", command=phase) for phase in phases]
        return max(abs(other / full - 1) for other in others)
    return figure


def checksum_difference(line, other):
    """Largest relative difference of the checksums that both have; None without any."""
    ours, theirs = line.get("checksum") or {}, other.get("checksum") or {}
    numbers = [key for key in ours if isinstance(ours[key], float) and isinstance(theirs.get(key), float)]
    return max((abs(ours[key] - theirs[key]) / max(abs(theirs[key]), 1e-30) for key in numbers), default=None)
