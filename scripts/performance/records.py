"""The results file: one JSON object a line, one line a process.

A process that ran:
  {"case": "layer-E8-k1", "command": "ours", "round": 1, "exit": 0, "seconds": 6.1, "at": "2025-11-25T02:40:11",
   "commit": "30239e5", "line": "evomoe bench layer ...", "results": [its JSON lines, unchanged], "error": ""}
And once a run: {"machine": {...}}.
"""

import json
import sys


class Records:
    """What is kept, in the order in which it was measured."""

    def __init__(self, processes=(), machine=None):
        self.processes = list(processes)
        self.machine = dict(machine or {})

    @staticmethod
    def read(path):
        records = Records()
        if not path.exists():
            return records
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(text)
            except ValueError:
                # A run that was killed may leave half of its last line.
                print(f"{path}:{number}: left out, this is no whole line of JSON", file=sys.stderr)
                continue
            if "machine" in record:
                records.machine.update(record["machine"])
            else:
                records.processes.append(record)
        return records

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(".new")
        with open(whole, "w", encoding="utf-8") as file:
            for record in [{"machine": self.machine}] + self.processes:
                file.write(json.dumps(record) + "\n")
        whole.replace(path)

    def append(self, record, path):
        self.processes.append(record)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def has(self, case):
        return any(p["case"] == case for p in self.processes)

    def done(self, case, command, round_number):
        return any(p["exit"] == 0 for p in self.processes
                   if (p["case"], p["command"], p["round"]) == (case, command, round_number))

    def seconds(self):
        """How long each (case, command) took the last time."""
        return {(p["case"], p["command"]): p["seconds"] for p in self.processes if p["exit"] == 0}

    def failed(self):
        """The processes that failed and were not run again with success."""
        return [p for p in self.processes
                if p["exit"] != 0 and not self.done(p["case"], p["command"], p["round"])]

    def rounds(self):
        """The results of each round."""
        numbers = sorted({p["round"] for p in self.processes})
        done = [p for p in self.processes if p["exit"] == 0]
        first = Round([p for p in done if p["round"] == 1])
        return [Round([p for p in done if p["round"] == number], first) for number in numbers]

    def lines(self, case, command):
        """The result lines of a command, rounds together: {(impl, case label): [line of each round]}."""
        found = {}
        for process in self.processes:
            if (process["case"], process["command"]) == (case, command) and process["exit"] == 0:
                for line in process["results"]:
                    found.setdefault((line["impl"], line["case"]), []).append(line)
        return found


class Missing(Exception):
    """The round has no such result."""


class Round:
    """The results of one round; `first` are those of the first, in which more is measured."""

    def __init__(self, processes, first=None):
        self.first = first or self
        self._lines = {}
        for process in processes:
            self._lines[process["case"], process["command"]] = process["results"]

    def all(self, case, command="ours"):
        """Every result line of a process."""
        try:
            return self._lines[case, command]
        except KeyError:
            raise Missing(f"{case} {command}") from None

    def value(self, case, key, impl=None, command="ours"):
        """`key` of the only line, or of the line of `impl`."""
        lines = [line for line in self.all(case, command) if impl in (None, line["impl"])]
        if len(lines) != 1 or lines[0].get(key) is None:
            raise Missing(f"{case} {command} {impl} {key}")
        return lines[0][key]
