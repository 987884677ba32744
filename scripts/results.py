#!/usr/bin/env python3
"""Makes the runs of plans, keeps what came out in docs/results, and writes docs/results.md; `make results` runs it.

A plan is a file of `evomoe compare`; the comment at its head is the question that it asks, and its data are made here, of
the books in EVOMOE_DATA (default: ../shared/data). Runs that are there already are not made again, so that an
interrupted `make results` goes on. docs/results/PLAN.json is the record of a plan: the page is made of the records
alone. Exit status: 0, or 1 when a run failed; its reason is on the page.
"""

import argparse
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

from measuring import progress
from page_parts import filled, table

ROOT = Path(__file__).resolve().parent.parent
PLANS = ROOT / "recipes/plans"
RECORDS = ROOT / "docs/results"
PAGE = ROOT / "docs/results.md"
FOLDER = ROOT / "build/results"
UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def call(*line):
    line = [str(word) for word in line]
    progress("$ " + shlex.join(line))
    subprocess.run(line, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)


def make_data(evomoe, books):
    """Binarised books with a vocabulary of 4096."""
    target, bpe = FOLDER / "data-bin", FOLDER / "bpe"
    if (target / "dict.txt").exists():
        return
    if not (books / "train.txt").is_file():
        sys.exit(f"{books}: there is no train.txt; EVOMOE_DATA names the folder that holds books/")
    call(evomoe, "bpe", "train", books / "train.txt", "--vocab-size", 4096, "--keep-whitespace", "--destdir", bpe)
    parts = [word for split in ("train", "valid", "test") for word in (f"--{split}pref", books / f"{split}.txt")]
    call(evomoe, "preprocess", "--only-source", *parts, "--bpe", "gpt2", "--gpt2-encoder-json", bpe / "encoder.json",
         "--gpt2-vocab-bpe", bpe / "vocab.bpe", "--keep-whitespace", "--destdir", target)


def question(plan):
    """The comment at the head of a plan: a title, then text."""
    lines = []
    for line in plan.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    if not lines:
        sys.exit(f"{plan}: it begins with no comment that says what it asks")
    return lines[0], "\n".join(lines[1:]).strip()


def number(value):
    for size, unit in UNITS:
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def duration(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def spread(values):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** .5:.2f}"


def rows_of(result):
    groups = {}
    for run in result["runs"]:
        groups.setdefault((run["length"], run["method"]), []).append(run)
    for (length, method), runs in sorted(groups.items(), key=lambda item: item[0][0]):
        made = [run for run in runs if run["failure"] is None and run["perplexity"] is not None]
        if not made:
            yield [method, number(length), f"0 of {len(runs)}"] + ["-"] * 7
            continue
        mean = lambda key: sum(run[key] for run in made) / len(made)
        known = lambda key: all(run[key] is not None for run in made)
        yield [method, number(length), f"{len(made)} of {len(runs)}", spread([run["perplexity"] for run in made]),
               f"{mean('updates'):.0f}", number(mean("flops")), duration(mean("seconds")),
               f"{mean('tokens') / mean('seconds'):.0f}",
               f"{mean('active_experts'):.2f}" if known("active_experts") else "-",
               f"{mean('max_vio'):.2f}" if known("max_vio") else "-"]


def section(plan, record):
    title, why = question(plan)
    result = record["result"]
    parts = [f"## {title}", filled(why), filled(record["made"])]
    parts.append(table(("method", result["unit"] + " given", "runs", "perplexity", "updates", "FLOP", "time", "tokens/s",
                        "experts/token at end", "max_vio"), rows_of(result)))
    if several_lengths(result):
        reach = result["to_reach_target"]
        parts.append(f"To reach {result['baseline']}'s perplexity after its longest runs, "
                     f"{result['target_perplexity']:.2f}:")
        parts.append(table(("method", "updates", "FLOP", "of the baseline's", "time", "of the baseline's"),
                           [[name, "not reached"] + ["-"] * 4 if cost is None else
                            [name, f"{cost['updates']:.0f}", number(cost["flops"]), share(result, name, "flops"),
                             duration(cost["seconds"]), share(result, name, "seconds")]
                            for name, cost in reach.items()]))
    parts.append("\n".join(filled(line, "- ", "  ") for line in record["said"]))
    parts.append(f"`evomoe compare {plan.relative_to(ROOT)}`")
    return "\n\n".join(part for part in parts if part)


def several_lengths(result):
    return len({run["length"] for run in result["runs"]}) > 1 and result["target_perplexity"] is not None


def share(result, method, measure):
    """Of what the baseline takes to its own perplexity, the share that a method takes."""
    cost, base = result["to_reach_target"].get(method), result["to_reach_target"][result["baseline"]]
    return "-" if cost is None else f"{cost[measure] / base[measure]:.2f}"


def perplexity(result, method, length):
    made = [run["perplexity"] for run in result["runs"]
            if run["method"] == method and run["length"] == length and run["failure"] is None]
    return spread(made) if made and None not in made else "-"


def evolution_rows(records):
    """A row for each plan and length in which EvoMoE stands beside Switch."""
    for plan, record in records.items():
        result = record["result"]
        if result["baseline"] != "switch" or not any(run["method"] == "evomoe" for run in result["runs"]):
            continue
        last = max(run["length"] for run in result["runs"])
        for length in sorted({run["length"] for run in result["runs"]}):
            pair = next((pair for pair in result["differences"]
                         if pair["method"] == "evomoe" and pair["length"] == length), None)
            t = "-" if pair is None or pair["t"] is None else f"{pair['t']:.1f} ({pair['critical_t']:.1f})"
            to_switch = (share(result, "evomoe", measure) for measure in ("updates", "seconds", "flops"))
            yield [f"`{plan.stem}`", f"{number(length)} {result['unit']}",
                   *(perplexity(result, method, length) for method in ("dense", "switch", "evomoe")),
                   "-" if pair is None else f"{100 * math.expm1(pair['mean']):+.2f} %", t,
                   *(to_switch if length == last and several_lengths(result) else ["-"] * 3)]


EVOLUTION = [
    "## When does evolution pay?",
    filled("""EvoMoE beside Switch in each plan. t is Student's for the differences seed by seed, with what chance alone
           exceeds in 5 of 100 cases. The last three columns: what EvoMoE takes to come to the perplexity of Switch's
           longest runs, as a share of what Switch takes.""")]
COLUMNS = ("plan", "length", "dense", "Switch", "EvoMoE", "EvoMoE beside Switch", "t (bound)", "of its updates",
           "of its time", "of its FLOP")


def compare(evomoe, plan, *options):
    done = subprocess.run([evomoe, "compare", plan, *options], cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, check=False)
    if done.returncode > 1:
        sys.exit(f"evomoe compare {plan}: exit status {done.returncode}")
    return done


HEAD = [
    "# Results",
    filled("""`make results` (`scripts/results.py`) makes the runs of `recipes/plans`, keeps them in `docs/results` and
           writes this page: do not edit it."""),
    filled("""Text: 48 MB of books, byte-level BPE of 4096 symbols. Perplexity is that of the validation books, lower is
           better; ± is the standard deviation over seeds. How to read the rest: [comparing](comparing.md).""")]


def page_of(records):
    """The page, of the records by their plans."""
    rows = list(evolution_rows(records))
    summary = [*EVOLUTION, table(COLUMNS, rows, left=2)] if rows else []
    return "\n\n".join([*HEAD, *summary, *(section(plan, record) for plan, record in records.items())]) + "\n"


def record_of(plan):
    return RECORDS / f"{plan.stem}.json"


def kept_records():
    """The records of the plans in recipes/plans that have one."""
    return {plan: json.loads(record_of(plan).read_text(encoding="utf-8"))
            for plan in sorted(PLANS.glob("*.yaml")) if record_of(plan).exists()}


def write_page():
    PAGE.write_text(page_of(kept_records()), encoding="utf-8")
    progress(f"wrote {PAGE.relative_to(ROOT)}")


def make(evomoe, plan, jobs, note):
    """Makes the runs of a plan and its record; whether all of them succeeded."""
    done = compare(evomoe, plan, "--jobs", jobs)
    result = json.loads(compare(evomoe, plan, "--format", "json").stdout)
    made = f"{date.today()}, {platform.machine()} with {os.cpu_count()} cores, runs at a time: {jobs}. {note}".strip()
    # What the program says of it: the sentences behind the tables.
    said = [line for line in done.stdout.splitlines() if ": perplexity " in line or " has failed: " in line]
    RECORDS.mkdir(exist_ok=True)
    record_of(plan).write_text(json.dumps({"made": made, "said": said, "result": result}, indent=1) + "\n",
                               encoding="utf-8")
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plans", nargs="*", type=Path, help="plans of recipes/plans (default: all)")
    parser.add_argument("--evomoe", default=str(ROOT / "build/release/evomoe"), help="the program")
    parser.add_argument("--jobs", default="1", help="runs at once")
    parser.add_argument("--note", default="", help="a sentence for the record, e.g. of what else the machine did")
    parser.add_argument("--only-page", action="store_true", help="make no runs; write the page of the records")
    args = parser.parse_args()
    plans = [plan.resolve() for plan in args.plans] or sorted(PLANS.glob("*.yaml"))
    for plan in plans:
        if plan.parent != PLANS:
            sys.exit(f"{plan} is not in {PLANS}: the page has the plans of that folder; "
                     "`evomoe compare` makes the runs of others")
    if args.only_page:
        write_page()
        return 0
    evomoe = str(Path(args.evomoe).resolve())
    make_data(evomoe, Path(os.environ.get("EVOMOE_DATA", ROOT.parent / "shared/data")) / "books")
    failed = False
    for plan in plans:
        failed = not make(evomoe, plan, args.jobs, args.note) or failed
        write_page()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
