"""scripts/prepare_glue.py: which columns become which files, with a stand-in for the program."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "prepare_glue.py"

# Copies each text to DESTDIR/SPLIT.txt and its arguments to DESTDIR/arguments.
STAND_IN = """#!/usr/bin/env python3
import pathlib, sys
given = dict(zip(sys.argv[2::1], sys.argv[3::1]))
folder = pathlib.Path(given["--destdir"])
folder.mkdir(parents=True)
(folder / "arguments").write_text(" ".join(sys.argv[1:]))
for split in ("train", "valid", "test"):
    if f"--{split}pref" in given:
        (folder / f"{split}.txt").write_text(pathlib.Path(given[f"--{split}pref"]).read_text())
"""


class PrepareGlue(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        (self.folder / "evomoe").write_text(STAND_IN)
        (self.folder / "evomoe").chmod(0o755)
        for name in ("source", "pretraining"):
            (self.folder / name).mkdir()
        (self.folder / "pretraining/dict.txt").write_text("a 1\n")

    def prepare(self, task, **files):
        for name, text in files.items():
            (self.folder / "source" / f"{name}.tsv").write_text(text)
        return subprocess.run(
            [sys.executable, str(SCRIPT), task, str(self.folder / "source"), str(self.folder / "made"),
             str(self.folder / "pretraining"), "--evomoe", str(self.folder / "evomoe")],
            capture_output=True, text=True)

    def made(self, name):
        return (self.folder / "made" / name).read_text()

    def test_pairs_of_sentences_and_their_labels_lie_in_three_folders(self):
        (self.folder / "pretraining/vocab.bpe").write_text("")
        result = self.prepare(
            "RTE",
            train='index\tsentence1\tsentence2\tlabel\n0\tHe said "no.\tHe spoke.\tentailment\n1\tA.\tB.\tnot_entailment\n',
            dev="index\tsentence1\tsentence2\tlabel\n0\tC.\tD.\tentailment\n",
            test="index\tsentence1\tsentence2\n0\tE.\tF.\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.made("input0/train.txt"), 'He said "no.\nA.\n')
        self.assertEqual(self.made("input1/train.txt"), "He spoke.\nB.\n")
        self.assertEqual(self.made("label/train.txt"), "entailment\nnot_entailment\n")
        self.assertEqual(self.made("label/valid.txt"), "entailment\n")
        self.assertEqual(self.made("input1/test.txt"), "F.\n")
        self.assertFalse((self.folder / "made/label/test.txt").exists())
        self.assertIn("--srcdict", self.made("input1/arguments"))
        self.assertIn("--bpe gpt2", self.made("input1/arguments"))
        self.assertNotIn("--srcdict", self.made("label/arguments"))

    def test_single_sentences_need_no_second_folder(self):
        result = self.prepare("CoLA", train="gj04\t1\t\tA b.\ngj04\t0\t*\tB a.\n", dev="gj04\t1\t\tC.\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.made("input0/train.txt"), "A b.\nB a.\n")
        self.assertEqual(self.made("label/train.txt"), "1\n0\n")
        self.assertNotIn("--bpe", self.made("input0/arguments"))
        self.assertFalse((self.folder / "made/input1").exists())

    def test_scores_become_numbers_from_0_to_1_one_a_line(self):
        header = "\t".join(["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"])
        row = "0\tmain\tMSR\t2012\t1\tnone\tnone\t"
        train = f"{header}\tscore\n{row}A.\tB.\t5.000\n{row}C.\tD.\t0.333\n"
        result = self.prepare("STS-B", train=train, dev=f"{header}\tscore\n{row}E.\tF.\t3.800\n",
                              test=f"{header}\n{row}G.\tH.\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.made("input0/train.txt"), "A.\nC.\n")
        self.assertEqual(self.made("input1/test.txt"), "H.\n")
        self.assertEqual(self.made("label/train.label"), "1\n0.0666\n")
        self.assertEqual(self.made("label/valid.label"), "0.76\n")
        self.assertEqual(sorted(path.name for path in (self.folder / "made/label").iterdir()),
                         ["train.label", "valid.label"])

    def test_a_score_that_is_no_number_is_named_with_its_line(self):
        row = "0\tmain\tMSR\t2012\t1\tnone\tnone\tA.\tB.\t"
        result = self.prepare("STS-B", train=f"header\n{row}1\n{row}high\n", dev="")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("train.tsv:3", result.stderr)
        self.assertIn("`high`", result.stderr)
        self.assertFalse((self.folder / "made").exists())

    def test_a_file_of_another_task_is_named_with_its_line(self):
        result = self.prepare("CoLA", train="index\tsentence\n0\tA.\n", dev="")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("train.tsv:1", result.stderr)
        result = self.prepare("MNLI")
        self.assertIn("RTE", result.stderr)


if __name__ == "__main__":
    unittest.main()
