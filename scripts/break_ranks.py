#!/usr/bin/env python3
"""Breaks runs of several processes, many times and at random moments, and checks that each ends in time and goes on.

A rank that is drawn by chance is killed (kill), stopped (stop), or slowed down by short stops (slow), while ranks meet
(meeting), while a checkpoint is written (checkpoint), or between (update). After each the run must have ended before its
deadline, its last checkpoint must load, and the same command, with another number of ranks now and then, goes on from
it. A run that got through all of it must end as one that nobody disturbed: bit by bit where the number of ranks stayed
the same, else with its losses. With --restarts the program's own launcher starts the ranks again.

  scripts/break_ranks.py build/release/evomoe --times 120
"""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

KINDS = ("kill", "stop", "slow")
MOMENTS = ("meeting", "checkpoint", "update")
UPDATES = 160
PER_RUN = 12  # disturbances
MODEL = (
    "--arch transformer_lm_gpt2_tiny --decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 32 "
    "--decoder-attention-heads 2 --tokens-per-sample 16 --sample-break-mode eos --batch-size 9 --lr 0.003 --dropout 0.1 "
    "--clip-norm 0.5 --log-interval 1 --log-format none --threads 1 --device cpu --save-interval-updates 4 "
    "--keep-interval-updates 2 --no-epoch-checkpoints --disable-validation --write-checkpoints-asynchronously "
    "--moe-freq 2 --moe-expert-count 4 --moe-topk-expert --criterion moe_cross_entropy --use-gumbel-softmax "
    "--max-temperature 2 --min-temperature 0.3 --gumbel-decay-scheduler Linear --gumbel-decay-factor 60 "
    "--switch-to-hard-gumbel-softmax 90 --shared-expert-updates 40 --moe-eval-capacity-token-fraction -1"
).split()


def make_data(evomoe, folder):
    """A corpus of 360 lines: 40 batches, which 1, 2 and 4 ranks share evenly."""
    def name(i):
        return f"w{(i * i + 3 * i) % 23}"
    lines = [f"the {name(i)} sees {name(i * 7 + 1)} and then {name(i)} goes to the {name(i * 3 + 2)}\n" for i in range(400)]
    (folder / "train.txt").write_text("".join(line for i, line in enumerate(lines) if i % 10))
    (folder / "valid.txt").write_text("".join(lines[::10]))
    subprocess.run([evomoe, "preprocess", "--only-source", "--trainpref", folder / "train.txt", "--validpref",
                    folder / "valid.txt", "--destdir", folder / "bin"], check=True, capture_output=True)


class Job:
    """One start of the command with so many ranks."""

    def __init__(self, args, folder, run, ranks, restarts=0, flags=()):
        self.run = folder / run
        self.output = folder / f"{run}.out"
        command = [args.evomoe, "train", folder / "bin", "--save-dir", self.run, *MODEL, "--max-update", str(UPDATES),
                   "--update-freq", str(4 // ranks), "--distributed-world-size", str(ranks), "--distributed-timeout",
                   str(args.timeout), "--max-restarts", str(restarts), *flags]
        with open(self.output, "ab") as output:
            self.start = output.tell()
            self.process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output,
                                            stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def ranks(self):
        """The processes of its ranks; itself where it is the only one."""
        pid = self.process.pid
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return []
        return [int(child) for child in children]

    def restarts(self):
        """How often its launcher has started the ranks again."""
        return self.output.read_bytes()[self.start:].count(b"starts all again")

    def ended(self):
        return self.process.poll() is not None

    def wait(self, seconds):
        """Whether it ends in time."""
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def log_bytes(self):
        try:
            return (self.run / "log.jsonl").stat().st_size
        except OSError:
            return 0

    def is_writing(self):
        """Whether a checkpoint is being written: it has a temporary name."""
        try:
            return any(entry.name.endswith(".tmp") for entry in self.run.iterdir())
        except OSError:
            return False


def wait_for(job, moment, random_numbers):
    """Waits until the moment has come; false where the job ended before."""
    start = job.log_bytes()
    if moment == "meeting":
        end = time.monotonic() + random_numbers.uniform(0.02, 0.9)
        ready = lambda: time.monotonic() > end and job.ranks()
    else:
        more = random_numbers.randrange(1000, 12000)
        has_trained = lambda: job.log_bytes() > start + more
        ready = has_trained if moment == "update" else lambda: has_trained() and job.is_writing()
    while not ready():
        if job.ended():
            return False
        time.sleep(0.002)
    return True


def disturb(job, kind, random_numbers):
    """Does it to a rank; which one, or nothing where they are gone."""
    ranks = job.ranks()
    if not ranks:
        return None
    rank = random_numbers.randrange(len(ranks))
    try:
        if kind == "kill":
            os.kill(ranks[rank], signal.SIGKILL)
        elif kind == "stop":
            os.kill(ranks[rank], signal.SIGSTOP)
        else:
            for _ in range(8):
                os.kill(ranks[rank], signal.SIGSTOP)
                time.sleep(random_numbers.uniform(0.01, 0.15))
                os.kill(ranks[rank], signal.SIGCONT)
                time.sleep(random_numbers.uniform(0.01, 0.05))
    except ProcessLookupError:
        return None
    return rank


def losses(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["completed_updates"]: line["loss"] for line in lines if line["tag"] == "train_inner"}


def files(run):
    """Every tensor of the last checkpoint, as bytes."""
    return {path.name: path.read_bytes() for path in sorted((run / "checkpoint_last").glob("*.safetensors"))}


def check_checkpoint(args, run):
    """The last checkpoint, if there is one by now, loads."""
    if not (run / "checkpoint_last").exists():
        return True
    result = subprocess.run([args.evomoe, "generate", "--path", run / "checkpoint_last", "--prompt", "the", "--max-len",
                             "1", "--threads", "1"], capture_output=True, text=True)
    if result.returncode != 0:
        print(result.stderr, file=sys.stderr)
    return result.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evomoe", help="the program")
    parser.add_argument("--times", type=int, default=120, help="disturbances in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=4, help="--distributed-timeout, in seconds")
    parser.add_argument("--flags", default="", help="further flags of the runs")
    parser.add_argument("--keep", help="folder that is kept (default: a temporary one)")
    args = parser.parse_args()
    args.evomoe = pathlib.Path(args.evomoe).resolve()
    if args.keep:
        pathlib.Path(args.keep).mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(args.keep or tempfile.mkdtemp(prefix="evomoe-break-"))
    # Ranks that wait for one that is stopped fail after the timeout; the launcher gives them 30 s more at the most.
    deadline = 2 * args.timeout + 5 + 35
    numbers = random.Random(args.seed)
    make_data(args.evomoe, folder)
    flags = args.flags.split()
    whole = {}
    for ranks in (2, 4):
        job = Job(args, folder, f"whole{ranks}", ranks, flags=flags)
        if not job.wait(600) or job.process.returncode != 0:
            sys.exit(f"the undisturbed run failed:\n{job.output.read_text()}")
        whole[ranks] = (losses(job.run), files(job.run))
    table = collections.Counter()
    problems = []
    plan = [(kind, moment) for kind in KINDS for moment in MOMENTS]
    done = runs = 0
    while done < args.times:
        runs += 1
        name = f"run{runs}"
        # Every third run changes its number of ranks, every third one leaves starting again to the launcher.
        changes, restarts = runs % 3 == 0, 3 if runs % 3 == 1 else 0
        ranks = numbers.choice((2, 4))
        changed = False
        job = Job(args, folder, name, ranks, restarts, flags)
        for _ in range(min(PER_RUN, args.times - done)):
            kind, moment = plan[done % len(plan)]
            if not wait_for(job, moment, numbers):
                break
            rank = disturb(job, kind, numbers)
            if rank is None:
                break
            done += 1
            what = f"{name}: {kind} of rank {rank} of {ranks} ({moment})"
            if restarts and kind != "slow":
                # The next disturbance meets the ranks that the launcher starts by itself.
                before = job.restarts()
                end = time.monotonic() + deadline
                while not job.ended() and job.restarts() == before:
                    if time.monotonic() > end:
                        break
                    time.sleep(0.05)
                if job.ended():
                    outcome = "ended, restarts used up" if before == restarts else "ended without a restart"
                    if before != restarts:
                        problems.append(f"{what}: {outcome}")
                elif time.monotonic() > end:
                    outcome = "HANGS"
                    problems.append(f"{what}: hangs")
                else:
                    outcome = "restarted by the launcher"
            elif kind == "slow":
                outcome = "ended" if job.ended() and job.process.returncode != 0 else "went on"
                if outcome == "ended":
                    problems.append(f"{what}: a short stop ended it")
            elif job.wait(deadline):
                outcome = "ended" if job.process.returncode != 0 else "finished"
                if outcome == "finished" and moment != "update":
                    outcome = "had finished"
            else:
                outcome = "HANGS"
                problems.append(f"{what}: it does not end within {deadline} s")
            table[kind, moment, outcome] += 1
            print(f"{done:4} {what}: {outcome}", flush=True)
            if outcome == "HANGS":
                for process in job.ranks() + [job.process.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                job.process.wait()
            if not job.ended():
                continue
            if not check_checkpoint(args, job.run):
                problems.append(f"{what}: the last checkpoint does not load")
            if changes:
                ranks = numbers.choice((1, 2, 4))
                changed = True
            job = Job(args, folder, name, ranks, restarts, flags)
        if not job.wait(deadline + 120) or job.process.returncode != 0:
            # What came last may have been too much for its restarts: the same command goes on.
            job = Job(args, folder, name, ranks, 0, flags)
            if not job.wait(deadline + 120) or job.process.returncode != 0:
                problems.append(f"{name}: it cannot be ended: {job.output.read_text()[-1500:]}")
                job.process.kill()
                job.process.wait()
                continue
        like = 4 if ranks == 4 else 2
        expected, tensors = whole[like]
        found = losses(job.run)
        worst = max((abs(found.get(update, 1e9) - loss) / abs(loss) for update, loss in expected.items()))
        same = files(job.run) == tensors
        if set(found) != set(expected):
            problems.append(f"{name}: its log has other updates")
        elif not changed and not same:
            problems.append(f"{name}: it ends with other numbers than an undisturbed run (losses differ by {worst:.2g})")
        elif worst > 2e-3:
            problems.append(f"{name}: its losses differ by {worst:.2g}")
        table["run", "changes ranks" if changed else "same ranks", "bit-identical" if same else "losses agree"] += 1
        print(f"     {name}: ends as an undisturbed one ({'bit-identical' if same else f'losses within {worst:.1g}'})", flush=True)
        if not args.keep:
            shutil.rmtree(job.run)
    print()
    for (kind, moment, outcome), count in sorted(table.items()):
        print(f"{kind:5} {moment:14} {outcome:28} {count:4}")
    print(f"{done} disturbances in {runs} runs, {len(problems)} problems")
    for problem in problems:
        print(f"  {problem}")
    if not args.keep:
        shutil.rmtree(folder)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
