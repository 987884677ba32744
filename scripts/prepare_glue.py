#!/usr/bin/env python3
"""Makes the data folder of a GLUE task for `--task sentence_prediction` from the task's .tsv files.

usage: prepare_glue.py TASK SOURCE DESTINATION PRETRAINING_DATA [--evomoe PROGRAM] [--workers N]
TASK: RTE, CoLA or STS-B; SOURCE: folder with train.tsv, dev.tsv and (if any) test.tsv; PRETRAINING_DATA: the data folder that
the model was trained on: its dict.txt, and its BPE if it has one, encode the sentences. DESTINATION gets the folders
input0, input1 (pairs of sentences only) and label, each with dict.txt and the splits train, valid and test. The labels of
STS-B are numbers, for `--regression-target`: label holds train.label and valid.label with a fifth of each score, from 0 to 1.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

# Of each task: the columns (from 0) of the sentences and of the label, and whether a first line names the columns; for
# the files with labels and for test.tsv, which has none.
TASKS = {
    "RTE": {"labelled": ([1, 2], 3, True), "test": ([1, 2], None, True)},
    "CoLA": {"labelled": ([3], 1, False), "test": ([1], None, True)},
    "STS-B": {"labelled": ([7, 8], 9, True), "test": ([7, 8], None, True)},
}
REGRESSIONS = {"STS-B": 5.0}  # and their highest score
SPLITS = {"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"}


def read_columns(path, inputs, label, has_header):
    """The columns of a .tsv file, the label's last. Quotation marks mean nothing there."""
    wanted = inputs + ([] if label is None else [label])
    columns = [[] for _ in wanted]
    lines = path.read_bytes().decode("utf-8").rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if number == 1 and has_header:
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) <= max(wanted):
            sys.exit(f"{path}:{number}: {len(fields)} columns, expected at least {max(wanted) + 1}; "
                     "is it the file of another task?")
        for column, index in zip(columns, wanted):
            column.append(fields[index].replace("\r", " "))  # it would end a line of `evomoe preprocess`
    return columns


def write_numbers(task, source, label_folder):
    """Writes {train,valid}.label: the scores of a regression as shares of the highest one, with six digits as fairseq's
    preparation has them."""
    inputs, label, has_header = TASKS[task]["labelled"]
    texts = {}
    for split in ("train", "valid"):
        path = source / SPLITS[split]
        shares = []
        for row, score in enumerate(read_columns(path, inputs, label, has_header)[-1]):
            try:
                shares.append(f"{float(score) / REGRESSIONS[task]:.6g}\n")
            except ValueError:
                sys.exit(f"{path}:{row + 1 + has_header}: the score is `{score}`, expected a number")
        texts[f"{split}.label"] = "".join(shares)
    label_folder.mkdir(parents=True)
    for name, text in texts.items():
        (label_folder / name).write_text(text, encoding="utf-8")


def write_texts(task, source, folder):
    """Writes {input0,input1,label}.{train,valid,test} as plain text; returns the splits of each."""
    made = {}
    for split, name in SPLITS.items():
        path = source / name
        if not path.exists():
            if split == "test":
                continue
            sys.exit(f"{path} is not there; SOURCE must be the folder of {task} with train.tsv and dev.tsv")
        inputs, label, has_header = TASKS[task]["test" if split == "test" else "labelled"]
        names = [f"input{i}" for i in range(len(inputs))] + ([] if label is None else ["label"])
        for column_name, column in zip(names, read_columns(path, inputs, label, has_header)):
            (folder / f"{column_name}.{split}").write_text("".join(line + "\n" for line in column), encoding="utf-8")
            made.setdefault(column_name, []).append(split)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("destination", type=pathlib.Path)
    parser.add_argument("pretraining_data", type=pathlib.Path)
    parser.add_argument("--evomoe", default=str(pathlib.Path(__file__).resolve().parent.parent / "build/release/evomoe"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()

    dictionary = options.pretraining_data / "dict.txt"
    if not dictionary.exists():
        sys.exit(f"{dictionary} is not there; PRETRAINING_DATA must be a folder made by `evomoe preprocess`")
    if options.destination.exists():
        sys.exit(f"{options.destination} is already there; remove it or choose another folder")
    encoding = ["--srcdict", str(dictionary)]
    if (options.pretraining_data / "vocab.bpe").exists():
        encoding += ["--bpe", "gpt2", "--gpt2-encoder-json", str(options.pretraining_data / "encoder.json"),
                     "--gpt2-vocab-bpe", str(options.pretraining_data / "vocab.bpe")]
    with tempfile.TemporaryDirectory() as texts:
        made = write_texts(options.task, options.source, pathlib.Path(texts))
        if options.task in REGRESSIONS:
            del made["label"]
            write_numbers(options.task, options.source, options.destination / "label")
        for name, splits in made.items():
            command = [options.evomoe, "preprocess", "--only-source", "--workers", str(options.workers),
                       "--destdir", str(options.destination / name)]
            for split in splits:
                command += [f"--{split}pref", f"{texts}/{name}.{split}"]
            # The label's dictionary is made from the training labels.
            subprocess.run(command + ([] if name == "label" else encoding), check=True)


if __name__ == "__main__":
    main()
