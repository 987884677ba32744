"""Runs the processes of all cases, one at a time, round after round, and keeps what they print."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
from measuring import json_lines, progress  # beside the folder of this program

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIMIT_S = 900  # a process that takes longer hangs


@dataclass(frozen=True)
class Programs:
    """What is run. Without `peers` ours is measured alone."""

    evomoe: Path
    python: str
    peers: Path = None

    def line(self, command):
        """The command line; None where the peers are missing."""
        if command.program == "evomoe":
            return [str(self.evomoe), *shlex.split(command.arguments)]
        if self.peers is None:
            return None
        return [self.python, *script(command, str(self.peers), HERE)]


def script(command, peers, here):
    """A peer's script and its arguments."""
    if (HERE / command.program).exists():
        return [f"{here}/{command.program}", "--peers", peers, *shlex.split(command.arguments)]
    return [f"{peers}/{command.program}", *shlex.split(command.arguments)]


def told(command):
    """The command line for a reader, whose machine has other folders."""
    environment = [f"{name}={value}" for name, value in command.environment]
    if command.program == "evomoe":
        return " ".join(environment + ["evomoe", command.arguments])
    return " ".join(environment + [".venv/bin/python", *script(command, "$EVOMOE_PEERS", "scripts/performance")])


@contextmanager
def busy(cores):
    """So many processes that compute for nothing."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def run(line, environment):
    """(exit status, JSON lines, end of what was said, seconds) of a process."""
    began = time.monotonic()
    try:
        done = subprocess.run(line, cwd=ROOT, env={**os.environ, **dict(environment)}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT_S, check=False)
        status, out, said = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        status, out, said = 124, "", f"stopped after {LIMIT_S} s"
    except OSError as error:
        status, out, said = 127, "", str(error)
    return status, json_lines(out), said.strip()[-2000:], round(time.monotonic() - began, 2)


def planned(cases, rounds, programs):
    """(round, case, command, command line) of everything, in the order in which it runs."""
    for round_number in range(1, rounds + 1):
        for case in cases:
            for command in case.commands:
                line = programs.line(command)
                if line is not None and (command.rounds == 0 or round_number <= command.rounds):
                    yield round_number, case, command, line


def time_left(plan, seconds):
    """Of the processes of `plan`, by what each took before; one that never ran counts as the mean of all others."""
    if not seconds:
        return "time left not known yet"
    mean = sum(seconds.values()) / len(seconds)
    total = sum(seconds.get((case.name, command.name), mean) for _, case, command, _ in plan)
    return f"{total / 60:.0f} min left"


def measure(cases, rounds, programs, records, path, seconds):
    """Runs what `records` has not yet, and keeps it at `path`. `seconds`: what processes took in earlier runs."""
    seconds = {**seconds, **records.seconds()}
    plan = [step for step in planned(cases, rounds, programs)
            if not records.done(step[1].name, step[2].name, step[0])]
    commit = git_commit()
    for index, (round_number, case, command, line) in enumerate(plan):
        progress(f"round {round_number}/{rounds}  {case.name:<20} {command.name:<12} "
                 f"{index + 1} of {len(plan)}, {time_left(plan[index:], seconds)}")
        with busy(command.busy_cores):
            status, results, said, took = run(line, command.environment)
        if status == 0:
            seconds[case.name, command.name] = took
        else:
            last = said.splitlines()[-1] if said else "it said nothing"
            progress(f"FAILED with exit status {status}: {told(command)}\n  {last}")
        records.append({"case": case.name, "command": command.name, "round": round_number, "exit": status,
                        "seconds": took, "at": datetime.now().isoformat(timespec="seconds"), "commit": commit,
                        "line": told(command), "results": results, "error": "" if status == 0 else said}, path)


# --- the machine ---

def git_commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    commit = git("rev-parse", "--short", "HEAD")
    return (commit or "unknown") + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def field(path, name):
    """The value behind `name:` in a file of /proc."""
    try:
        for text in Path(path).read_text(encoding="utf-8").splitlines():
            if text.split(":")[0].strip() == name:
                return text.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def machine(programs):
    """What a reader needs to judge the figures."""
    memory = field("/proc/meminfo", "MemTotal").split()
    return {
        "processor": field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[0]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        "evomoe": subprocess.run([programs.evomoe, "--version"], capture_output=True, text=True,
                                 check=False).stdout.strip(),
        "python": platform.python_version(),
        "peer_packages": peer_packages(programs.python) if programs.peers else {},
    }


def peer_packages(python):
    """Versions of what the peers need; {} where they cannot run."""
    code = ("import json\nfrom importlib.metadata import version, PackageNotFoundError\nfound = {}\n"
            "for name in ('torch', 'numpy', 'transformers'):\n"
            "    try: found[name] = version(name)\n    except PackageNotFoundError: pass\nprint(json.dumps(found))")
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return {}
    return json.loads(done.stdout) if done.returncode == 0 else {}
