"""The parts of pages of docs that scripts write: paragraphs and tables in Markdown."""

import textwrap


def filled(text, first="", others=""):
    """A paragraph in lines of at most 120 columns, as all pages have them."""
    return textwrap.fill(" ".join(text.split()), 120, initial_indent=first, subsequent_indent=others,
                         break_long_words=False, break_on_hyphens=False)


def table(headings, rows, left=1):
    """The first `left` columns are text, the others stand to the right."""
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    return "\n".join([line(headings), line(["---"] * left + ["---:"] * (len(headings) - left)), *map(line, rows)])
