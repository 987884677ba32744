#!/usr/bin/env python3
"""Makes train.txt and valid.txt (a twentieth of it) from a text file, or from all files of a folder.

usage: split_text.py SOURCE DESTINATION [PATTERN]
SOURCE: a file or folder; PATTERN: which files of a folder, e.g. '*.py' (default: all that are UTF-8, but for hidden ones).
DESTINATION: a new folder. Of twenty files or more every 20th
is for validation; fewer are cut into pieces at line ends, or, where lines are long, at spaces, and every 20th piece is.
"""
import os
import pathlib
import sys

EVERY = 20


def files(source, pattern):
    if source.is_file():
        return [source]
    found = source.rglob(pattern)
    skipped = {"site-packages", "__pycache__"}
    return sorted(f for f in found if f.is_file() and not skipped & set(f.relative_to(source).parts)
                  and not any(part.startswith(".") for part in f.relative_to(source).parts))


def is_text(data):
    try:
        data.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def pieces(data):
    """`data` in about 100 pieces that end after a line, or after a space where a line is longer than a piece."""
    size = max(len(data) // (5 * EVERY), 1)
    begin = 0
    while begin < len(data):
        end = begin + size
        for mark in (b"\n", b" "):
            found = data.find(mark, end, end + size)
            if found >= 0:
                end = found + 1
                break
        yield data[begin:end]
        begin = end


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    source, destination = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if not source.exists():
        sys.exit(f"split_text: {source} is not there; give a text file or a folder of them")
    if destination.exists():
        sys.exit(f"split_text: {destination} is there already; name a new folder, or remove it")
    texts = [f.read_bytes() for f in files(source, sys.argv[3] if len(sys.argv) == 4 else "*")]
    if len(sys.argv) < 4 and source.is_dir():
        every, texts = len(texts), [text for text in texts if is_text(text)]
        if len(texts) < every:
            print(f"split_text: {every - len(texts)} of {every} files are left out: they are not UTF-8", file=sys.stderr)
    parts = texts if len(texts) >= EVERY else [piece for text in texts for piece in pieces(text)]
    valid, train = parts[EVERY - 1 :: EVERY], [p for i, p in enumerate(parts) if i % EVERY != EVERY - 1]
    if not any(valid) or not any(train):
        sys.exit(f"split_text: there is too little text in {source}; give a larger file or folder")
    partial = destination.with_name(destination.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name, texts in (("train.txt", train), ("valid.txt", valid)):
        (partial / name).write_bytes(b"".join(t if t.endswith((b"\n", b" ")) else t + b"\n" for t in texts))
    (partial / "source").write_text(str(source.resolve()) + "\n")
    os.rename(partial, destination)


main()
