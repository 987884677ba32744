"""What scripts share that measure and write a page of docs: paragraphs and tables in Markdown, lines that commands print."""

import json
import sys
import textwrap


def progress(text):
    print(text, file=sys.stderr, flush=True)


def json_lines(text):
    """The JSON objects among the lines that a command printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def median_line(lines, key="ms_median"):
    """The line in the middle when they are in the order of `key`."""
    return sorted(lines, key=lambda line: line[key])[len(lines) // 2]


def filled(text, first="", others=""):
    """A paragraph in lines of at most 120 columns, as all pages have them."""
    return textwrap.fill(" ".join(text.split()), 120, initial_indent=first, subsequent_indent=others,
                         break_long_words=False, break_on_hyphens=False)


def table(headings, rows, left=1):
    """The first `left` columns are text, the others stand to the right."""
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    return "\n".join([line(headings), line(["---"] * left + ["---:"] * (len(headings) - left)), *map(line, rows)])
