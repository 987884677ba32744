"""Measures evomoe beside its peers and writes docs/performance.md; `make bench` runs it.

Every case runs ours and the peers in alternation, one process at a time, round after round. What the processes print is
kept in build/performance/results.jsonl; the table of goals goes to stdout. Exit status: 0 when all ran, 1 when a case
failed (the others run nevertheless), 2 for wrong use, 130 when interrupted.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import page
from cases import GROUPS
from growth import SWEEPS
from measure import ROOT, Programs, machine, measure, peer_packages, progress
from records import Records

RESULTS = ROOT / "build/performance/results.jsonl"
PAGE, PLOTS = ROOT / "docs/performance.md", ROOT / "docs/performance"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/performance", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--only", metavar="REGEX", help="only cases whose name matches; kept results of others stay")
    parser.add_argument("--list", action="store_true", help="name the cases, and do nothing")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="keep what an interrupted run measured")
    parser.add_argument("--render", action="store_true", help="write the page from kept results, without measuring")
    parser.add_argument("--peers", metavar="DIR", default=os.environ.get("EVOMOE_PEERS"),
                        help="folder of the peers (default: EVOMOE_PEERS, or ../shared/peers)")
    parser.add_argument("--evomoe", metavar="FILE", default=str(ROOT / "build/release/evomoe"), help="our program")
    parser.add_argument("--python", metavar="FILE", default=default_python(), help="Python with torch, for the peers")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1 is needed")
    try:
        pattern = re.compile(args.only or "")
    except re.error as error:
        parser.error(f"--only {args.only}: {error}")
    cases = [case for case in all_cases() if pattern.search(case.name)]
    if not cases:
        parser.error(f"--only {args.only}: no case has such a name; --list names them")
    return parser, args, cases


def default_python():
    own = ROOT / ".venv/bin/python"
    return str(own) if own.exists() else sys.executable


def all_cases():
    return [case for group in GROUPS for case in group.cases] + [case for sweep in SWEEPS for case in sweep.cases()]


def find_programs(parser, args):
    """What is run; wrong use where something that was asked for is missing."""
    evomoe = Path(args.evomoe).resolve()
    if not evomoe.is_file():
        parser.error(f"--evomoe {args.evomoe}: there is no such file; `make build` makes it")
    peers = Path(args.peers or ROOT.parent / "shared/peers").resolve()
    if not (peers / "bench_layer.py").is_file():
        if args.peers:
            parser.error(f"--peers {args.peers}: there is no bench_layer.py in it")
        progress(f"no peers in {peers}: ours is measured alone (--peers or EVOMOE_PEERS names their folder)")
        return Programs(evomoe, args.python)
    if "torch" not in peer_packages(args.python):
        if args.peers:
            parser.error(f"--peers {args.peers}: {args.python} has no torch to run them; --python names another")
        progress(f"{args.python} has no torch to run the peers in {peers}: ours is measured alone")
        return Programs(evomoe, args.python)
    return Programs(evomoe, args.python, peers)


def main():
    parser, args, cases = parse_arguments()
    if args.list:
        print("\n".join(case.name for case in cases))
        return 0
    kept = Records.read(RESULTS)
    if args.render:
        if not kept.processes:
            parser.error(f"--render: nothing is kept in {RESULTS}; `make bench` measures")
        page.render(kept, PAGE, PLOTS)
        return 0
    programs = find_programs(parser, args)
    chosen = {case.name for case in cases}
    if args.go_on:
        records = Records([p for p in kept.processes if p["exit"] == 0 or p["case"] not in chosen], kept.machine)
    else:
        records = Records([p for p in kept.processes if args.only and p["case"] not in chosen])
    records.machine.update(machine(programs))
    records.write(RESULTS)
    try:
        measure(cases, args.rounds, programs, records, RESULTS, kept.seconds())
    except KeyboardInterrupt:
        progress("interrupted; --continue goes on from here")
        return 130
    print(page.goals_table(records), flush=True)
    lost = [case.name for case in all_cases() if not records.has(case.name)]
    if args.only and lost and PAGE.exists():
        progress(f"{PAGE.relative_to(ROOT)} stays as it is, as nothing is kept of {len(lost)} of its cases; "
                 "--render writes it without them")
    else:
        page.render(records, PAGE, PLOTS)
        progress(f"wrote {PAGE.relative_to(ROOT)}")
    failed = [p for p in records.failed() if p["case"] in chosen]
    for process in failed:
        progress(f"failed in round {process['round']}: {process['line']}")
    wrong = [found for found in page.wrong_checksums(records) if found[0] in chosen]
    for case, impl, difference in wrong:
        progress(f"{case}: the checksums of {impl} and ours differ by {difference:.1e}, relative")
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
