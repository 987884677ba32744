"""What scripts share that measure: what they say meanwhile, and the lines that commands print."""

import json
import sys


def progress(text):
    print(text, file=sys.stderr, flush=True)


def json_lines(text):
    """The JSON objects among the lines that a command printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def median_line(lines, key="ms_median"):
    """The line in the middle when they are in the order of `key`."""
    return sorted(lines, key=lambda line: line[key])[len(lines) // 2]
