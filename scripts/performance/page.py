"""docs/performance.md: everything on it is computed from the kept results."""

import sys
from dataclasses import dataclass
from pathlib import Path

import goals
import growth
from cases import BY_VENDOR, GROUPS, OURS, PEERS
from figures import mib_beyond_training_state, checksum_difference, spread_of
from growth import SWEEPS
from plots import svg

sys.path.append(str(Path(__file__).resolve().parent.parent))
from page_parts import filled, table  # beside the folder of this program

CHECKSUMS_AGREE = 1e-3  # relative; float32 sums in another order


@dataclass(frozen=True)
class Row:
    """A line of a table: one implementation on one case, the results of all rounds."""

    case: str
    command: str
    impl: str
    label: str
    lines: tuple
    own: tuple     # ours of the same case, where it is one line
    peak: object   # of the peers' process; None without peers

    def median(self, key):
        values = [line[key] for line in self.lines if line.get(key) is not None]
        return spread_of(values).median if values else None

    def text(self, key, form):
        value = self.median(key)
        return "" if value is None else form.format(value)

    @property
    def mine(self):
        return self.impl.startswith("evomoe")


def milliseconds(row):
    times = spread_of([line["ms_median"] for line in row.lines])
    digits = 0 if times.median >= 1000 else 1 if times.median >= 10 else 2
    told = f"{times.median:.{digits}f}"
    return told if times.rounds == 1 else f"{told} ({times.low:.{digits}f} – {times.high:.{digits}f})"


def mean_ms(row):
    """The peers' lines have the median alone."""
    return row.median("ms_mean") or row.median("ms_median")


def beside(row):
    """How many times ours' time it takes."""
    if not row.own or row.lines == row.own:
        return ""
    first = row.lines[0]
    if first.get("ffn") == "swiglu":
        times = spread_of([line["gflops"] for line in row.own]).median / row.median("gflops")
    else:
        times = row.median("ms_median") / spread_of([line["ms_median"] for line in row.own]).median
    return f"{times:.2f} ×"


def implementation(row):
    name = row.impl + (", as PyTorch dispatches" if row.command == BY_VENDOR else "")
    name += " (gated)" if row.lines[0].get("ffn") == "swiglu" else ""
    return f"**{name}**" if row.mine and row.command != BY_VENDOR else name


def share_of_peers_peak(row):
    rate = row.median("gflops")
    return f"{rate / row.peak:.2f}" if rate and row.peak else ""


def beyond(row):
    return f"{mib_beyond_training_state(row.lines[0]):.0f}"


def keyed(heading, key, form):
    return heading, lambda row: row.text(key, form)


COLUMNS = {
    "case": ("case", lambda row: row.label),
    "label": ("case", lambda row: row.label),
    "name": ("case", lambda row: row.case),
    "impl": ("implementation", implementation),
    "command": ("", lambda row: row.command),
    "ms": ("ms (rounds)", milliseconds),
    "mean": ("ms", lambda row: f"{mean_ms(row):.1f}"),
    "beside": ("beside ours", beside),
    "gflops": keyed("GFLOP/s", "gflops", "{:.0f}"),
    "share": keyed("of its own process's peak", "sgemm_fraction", "{:.2f}"),
    "peers_share": ("over the peers' process's peak", share_of_peers_peak),
    "mib": keyed("MiB", "peak_mem_mb", "{:.0f}"),
    "beyond": ("beyond MiB", beyond),
    "share_of_memory": keyed("of memory speed", "memory_fraction", "{:.2f}"),
    "largest_load": keyed("largest load", "largest_load", "{:.0f}"),
    "active": keyed("active experts", "active_experts", "{:.2f}"),
    "ms_per_active": keyed("ms / active", "ms_per_active_expert", "{:.2f}"),
    "forward_backward": keyed("forward + backward ms", "forward_backward_ms", "{:.1f}"),
    "optimizer": keyed("optimiser ms", "optimizer_ms", "{:.1f}"),
    "tokens_per_s": keyed("tokens/s", "tokens_per_s", "{:.0f}"),
    "wait": keyed("waited for, % of a step", "wait_percent", "{:.3f}"),
    "slower": keyed("slower %", "slower_percent", "{:.2f}"),
    "pause": keyed("longest pause, steps", "longest_pause_steps", "{:.3f}"),
    "save_call": keyed("longest save call ms", "save_call_ms_max", "{:.1f}"),
    "checkpoint": keyed("checkpoint MiB", "checkpoint_mb", "{:.0f}"),
    "ranks": keyed("ranks", "ranks", "{:.0f}"),
    "sent": keyed("sent MiB", "comm_mb", "{:.1f}"),
    "on_loopback": keyed("on loopback MiB", "comm_mb_on_lo", "{:.1f}"),
    "last_loss": keyed("last loss", "last_loss", "{:.5f}"),
    "rounds": ("rounds", lambda row: str(len(row.lines))),
}
LEFT = ("case", "label", "name", "impl", "command")


def rows_of(case, records):
    own_lines = records.lines(case.name, OURS)
    own = tuple(next(iter(own_lines.values()))) if len(own_lines) == 1 else ()
    peaks = [line["sgemm_gflops"] for same in records.lines(case.name, PEERS).values() for line in same
             if line.get("sgemm_gflops")]
    peak = spread_of(peaks).median if peaks else None
    return [Row(case.name, command.name, impl, label, tuple(lines), own, peak)
            for command in case.commands
            for (impl, label), lines in records.lines(case.name, command.name).items()]


def group_table(group, records):
    cells = []
    for case in group.cases:
        label = None
        for row in rows_of(case, records):
            line = [COLUMNS[key][1](row) for key in group.columns]
            if group.columns[0] == "case":
                # Told once, in the first of its rows.
                line[0] = row.label if label is None else ""
                label = row.label
            cells.append(line)
    if not cells:
        return "Not measured."
    return table([COLUMNS[key][0] for key in group.columns], cells, sum(key in LEFT for key in group.columns))


def commands(cases, records):
    """The command lines that gave these results, each once."""
    names = {case.name for case in cases}
    return list(dict.fromkeys(p["line"] for p in records.processes if p["case"] in names))


def wrong_checksums(records):
    """Peers whose output or gradients are not ours: (case, impl, relative difference)."""
    wrong = []
    for case, row, difference in checksums(records):
        if difference > CHECKSUMS_AGREE:
            wrong.append((case, row.impl, difference))
    return wrong


def checksums(records):
    """(case name, row of a peer, difference from ours) of the layers that compute the same."""
    found = []
    for case in GROUPS[0].cases:
        for row in rows_of(case, records):
            if not row.own or row.mine:
                continue
            own, line = row.own[0], row.lines[0]
            if line.get("dropped") == 0 and all(line.get(key) == own[key] for key in ("ffn", "weights")):
                difference = checksum_difference(own, line)
                if difference is not None:
                    found.append((case.name, row, difference))
    return found


def machine_table(records):
    machine = records.machine
    ran = [p for p in records.processes if p["exit"] == 0]
    mine = [line for p in ran for line in p["results"] if line["impl"].startswith("evomoe")]
    theirs = [line for p in ran if p["command"] == PEERS for line in p["results"]]

    def best(lines, key):
        values = [line[key] for line in lines if line.get(key)]
        return max(values) if values else None

    def set_of(values):
        return ", ".join(sorted({str(value) for value in values if value})) or "–"

    vendor = [line for p in ran if p["command"] == BY_VENDOR for line in p["results"]]
    own = [line for line in mine if line not in vendor]
    days = sorted(p["at"][:10] for p in ran)
    gflops = "{:.0f} GFLOP/s".format
    rows = [("processor", machine.get("processor", "–")), ("cores", str(machine.get("cores", "–"))),
            ("memory", f"{machine['memory_gib']} GiB" if machine.get("memory_gib") else "–"),
            ("system", machine.get("system", "–")),
            ("instructions", set_of(line.get("instructions") for line in mine)),
            ("threads", set_of(line.get("threads") for p in ran if not p["case"].startswith("growth-threads")
                               for line in p["results"])),
            ("load average before", str(machine.get("load_before", "–"))),
            ("measured", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "–"),
            ("commit", set_of(p["commit"] for p in ran)),
            ("ours", f"{machine.get('evomoe', 'evomoe')}, LibTorch {set_of(line.get('torch') for line in mine)}"),
            ("peers", ", ".join(f"{name} {version}" for name, version in machine.get("peer_packages", {}).items())
             or "none: ours was measured alone")]
    for name, lines in (("sgemm peak of our process", own), ("the same, as PyTorch dispatches", vendor),
                        ("sgemm peak of the peers' processes", theirs)):
        if best(lines, "sgemm_gflops"):
            rows.append((name, gflops(best(lines, "sgemm_gflops"))))
    if best(own, "memory_gbs"):
        rows.append(("memory speed", f"{best(own, 'memory_gbs'):.0f} GB/s"))
    return table(["", ""], rows, left=2)


def goals_table(records):
    rounds = records.rounds()
    rows = []
    for goal in goals.GOALS:
        measured, extremes, count, met = goals.told(goal, rounds)
        rows.append([goal.what, goal.beside, goal.asked, measured, extremes, count, met])
    return table(["what", "beside", "goal", "measured", "spread", "rounds", "met"], rows, left=2)


def render(records, page, folder):
    """Writes the page and its plots."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [HEAD, machine_table(records), GOALS_HEAD,
             goals_table(records)]
    for case, impl, difference in wrong_checksums(records):
        parts.append(f"**{case}: the checksums of {impl} and ours differ by {difference:.1e}, relative.**")
    for process in records.failed():
        parts.append(f"**Failed** in round {process['round']} with exit status {process['exit']}: `{process['line']}`")
    parts.append(RESULTS_HEAD)
    differences = [difference for _, _, difference in checksums(records)]
    if differences:
        parts.append(f"Checksums of output and gradients of {len(differences)} peers' layers agree with ours within "
                     f"{max(differences):.0e}, relative.")
    for group in GROUPS:
        parts += [f"### {group.title}", filled(group.remark), group_table(group, records)]
        lines = commands(group.cases, records)
        if lines:
            parts.append("<details><summary>commands</summary>\n\n```sh\n" + "\n".join(lines) + "\n```\n\n</details>")
    parts.append(GROWTH_HEAD)
    for sweep in SWEEPS:
        at = growth.Measured(sweep, records)
        parts.append(f"### {sweep.title}")
        if len(at.xs) < 2:
            parts.append("Not measured.")
            continue
        panels = growth.panels(sweep, at)
        (folder / f"{sweep.name}.svg").write_text(svg(panels), encoding="utf-8")
        parts.append(f"![{sweep.title}]({folder.name}/{sweep.name}.svg)")
        parts.append("\n".join(filled(growth.sentence(quantity, panel), "- ", "  ")
                               for quantity, panel in zip((sweep.time, sweep.memory), panels)))
    page.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


HEAD = """# Performance

`make bench` (`scripts/performance`) writes this page from what it measured: do not edit it. To write it again from kept
results, without measuring: `python3 scripts/performance --render`."""

GOALS_HEAD = """## Goals

Each round measures every figure anew; ours and the peers' processes run one after the other. A figure is the median
over the rounds, its spread the smallest and the largest. *Best peer* is the fastest implementation that does the same
work; the slower ones are measured in the first round only. Time is forward and backward."""

RESULTS_HEAD = """## Results beside the peers

Milliseconds are medians over the rounds (smallest – largest) of each process's median. LibTorch's matrix products are
MKL's, which chooses its code by the maker of the processor; our program makes it choose by what the processor can do
(`evomoe/runtime/mkl_dispatch.h`). So the peak of our process can differ from that of the peers' processes. Three
columns show this: the share of the peak of a result's own process; GFLOP/s over the peak of the peers' process; and
rows of ours *as PyTorch dispatches* (`EVOMOE_MKL_BY_VENDOR=1`), in which only the rest of the work differs. MiB is
the peak of the resident set above the level before the layer or model was built: weights, gradients, activations,
buffers."""

GROWTH_HEAD = """## Growth

Time and memory per token of our program, forward and backward. Time is that of the fastest repeat, which shows a shape
best; bars reach up to the median. The thin line is the expected shape; it starts from one measured point."""
