#!/usr/bin/env python3
"""Makes the runs of plans and writes a page of what came out, results.md in docs; `make results` runs it.

A plan is a file of `evomoe compare`; the comment at its head is the question that it asks, and its data are made here, of
the books in EVOMOE_DATA (default: ../shared/data). Runs that are there already are not made again, so that an
interrupted `make results` goes on. Exit status: 0, or 1 when a run failed; its reason is on the page.
"""

import argparse
import json
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
PAGE = ROOT / "docs/results.md"
FOLDER = ROOT / "build/results"
UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def call(*line):
    progress("$ " + shlex.join(map(str, line)))
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


def section(plan, result, text, made):
    title, why = question(plan)
    parts = [f"## {title}", filled(why), filled(made)]
    parts.append(table(("method", result["unit"] + " given", "runs", "perplexity", "updates", "FLOP", "time", "tokens/s",
                        "experts/token at end", "max_vio"), rows_of(result)))
    if len({run["length"] for run in result["runs"]}) > 1 and result["target_perplexity"]:
        reach = result["to_reach_target"]
        base = reach[result["baseline"]]
        ratio = lambda cost, key: f"{cost[key] / base[key]:.2f}"
        parts.append(f"To reach {result['baseline']}'s perplexity after its longest runs, "
                     f"{result['target_perplexity']:.2f}:")
        parts.append(table(("method", "updates", "FLOP", "of the baseline's", "time", "of the baseline's"),
                           [[name, "not reached"] + ["-"] * 4 if cost is None else
                            [name, f"{cost['updates']:.0f}", number(cost["flops"]), ratio(cost, "flops"),
                             duration(cost["seconds"]), ratio(cost, "seconds")] for name, cost in reach.items()]))
    # What the program says of it: the sentences behind the tables.
    said = [line for line in text.splitlines() if ": perplexity " in line or " has failed: " in line]
    parts.append("\n".join(filled(line, "- ", "  ") for line in said))
    parts.append(f"`evomoe compare {plan.relative_to(ROOT)}`")
    return "\n\n".join(part for part in parts if part)


def compare(evomoe, plan, *options):
    done = subprocess.run([evomoe, "compare", plan, *options], cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, check=False)
    if done.returncode > 1:
        sys.exit(f"evomoe compare {plan}: exit status {done.returncode}")
    return done


HEAD = "\n\n".join([
    "# Results",
    filled("""`make results` (`scripts/results.py`) makes the runs of `recipes/plans` and writes this page: do not edit
           it."""),
    filled("""Text: 48 MB of books, byte-level BPE of 4096 symbols. Perplexity is that of the validation books, lower is
           better; ± is the standard deviation over seeds. How to read the rest: [comparing](comparing.md).""")])


def sections_of(page):
    """The sections of a page by their titles."""
    return {text.splitlines()[0]: text.strip() for text in ("\n" + page).split("\n## ")[1:]}


def page_with(section, page, titles):
    """The page with a section in the place of the one with its title; those with none of the titles are left out."""
    sections = {**sections_of(page), **sections_of(section)}
    return "\n\n## ".join([HEAD, *(sections[title] for title in titles if title in sections)]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plans", nargs="*", type=Path,
                        help="their sections are written anew, those of other plans in recipes/plans stay (default: all)")
    parser.add_argument("--evomoe", default=str(ROOT / "build/release/evomoe"), help="the program")
    parser.add_argument("--jobs", default="1", help="runs at once")
    parser.add_argument("--note", default="", help="a sentence for the page, e.g. of what else the machine did")
    args = parser.parse_args()
    known = sorted((ROOT / "recipes/plans").glob("*.yaml"))
    plans = [plan.resolve() for plan in args.plans] or known
    titles = list(dict.fromkeys(question(plan)[0] for plan in known + plans))
    evomoe = str(Path(args.evomoe).resolve())
    make_data(evomoe, Path(os.environ.get("EVOMOE_DATA", ROOT.parent / "shared/data")) / "books")
    made = (f"{date.today()}, {platform.machine()} with {os.cpu_count()} cores, runs at a time: {args.jobs}. {args.note}")
    failed = False
    for plan in plans:
        result = compare(evomoe, plan, "--jobs", args.jobs)
        failed = failed or result.returncode != 0
        new = section(plan, json.loads(compare(evomoe, plan, "--format", "json").stdout), result.stdout, made)
        old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(page_with(new, old, titles), encoding="utf-8")
        progress(f"wrote {PAGE.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
