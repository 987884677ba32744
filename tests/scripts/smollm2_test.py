"""scripts/smollm2.sh with programs that only write down how they were called: what is measured again, what is not, and
what is refused."""

import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import smollm2_peer  # noqa: E402

# In place of evomoe, and of the Python with transformers.
STAND_IN = """#!/bin/bash
echo "$*" >>"$CALLS"
value() { while [[ $# -gt 0 && $1 != "$name" ]]; do shift; done; echo "$2"; }
case $1 in
  convert) name=--output; to=$(value "$@"); mkdir -p "$to"; touch "$to/config.yaml" "$to/config.json" "$to/dict.txt" ;;
  preprocess) name=--destdir; to=$(value "$@"); mkdir -p "$to"; touch "$to/dict.txt" ;;
  train) name=--save-dir; mkdir -p "$(value "$@")" ;;
  eval-lm) echo '{"perplexity": 2.5}' ;;
  *smollm2_peer.py)
    case $2 in
      weights) mkdir -p "$5"; touch "$5/config.json" ;;
      page) exec "$REAL_PYTHON" "$@" ;;
      speed) echo '{"threads": 1, "ours": 3, "theirs": null, "products": 5, "ours_bfloat16": 4, "theirs_bfloat16": 2}' ;;
      text) echo "{\\"text\\": \\"text of $(basename "$3")\\"}" ;;
      *) echo '{"perplexity": 2.25, "class": "AClass"}' ;;
    esac ;;
esac
"""


class Smollm2Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = self.folder / "stand-in"
        self.program.write_text(STAND_IN, encoding="utf-8")
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        for name in ("wikitext-2/test.txt", "books/train.txt", "books/valid.txt"):
            (self.folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "data" / name).write_text("text\n", encoding="utf-8")
        wheel = self.folder / "made/wheel"
        wheel.mkdir(parents=True)
        (wheel / "SmolLM2-135M-Instruct.Q4_1.gguf").touch()

    def run_script(self, **settings):
        """(exit status, what it said, calls of the stand-ins)"""
        calls = self.folder / "calls"
        calls.write_text("", encoding="utf-8")
        environment = {"RUNS": "dense switch copy", **os.environ, "EVOMOE_DATA": str(self.folder / "data"),
                       "EVOMOE_PYTHON": str(self.program), "REAL_PYTHON": sys.executable, "CALLS": str(calls),
                       "PAGE": str(self.folder / "page.md"), **settings}
        done = subprocess.run([ROOT / "scripts/smollm2.sh", self.program, self.folder / "made"], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, calls.read_text(encoding="utf-8").splitlines()

    def made(self, **settings):
        status, said, calls = self.run_script(**settings)
        self.assertEqual(status, 0, said)
        return [call for call in calls if " page " not in call]

    def test_what_is_there_is_not_made_again(self):
        self.assertEqual(len([call for call in self.made() if call.startswith("eval-lm")]), 2 + 3 + 2)
        self.assertEqual(self.made(), [])
        (self.folder / "made/results/run-switch.json").unlink()
        self.assertEqual([call.split()[0] for call in self.made()], ["train", "eval-lm"])

    def test_more_runs_are_added_and_what_goes_back_is_the_last_one(self):
        self.made()
        self.assertIn("text of mixture-copy", (self.folder / "page.md").read_text(encoding="utf-8"))
        calls = self.made(RUNS="dense switch copy noise")
        self.assertEqual(len([call for call in calls if call.startswith("train")]), 2)
        self.assertIn("text of mixture-noise", (self.folder / "page.md").read_text(encoding="utf-8"))

    def test_results_of_other_settings_are_refused(self):
        self.made(UPDATES="30")
        for name, value in (("UPDATES", "20"), ("TOKENS", "512"), ("BLOCKS", "7"), ("TEXT", "9"), ("NEW", "3"),
                            ("THREADS", "1"), ("FREEZE", "norm")):
            status, said, calls = self.run_script(**{"UPDATES": "30", name: value})
            self.assertEqual((status, calls), (2, []), said)
            self.assertIn(f"{name}={value}", said)
            self.assertIn("another folder", said)
        status, said, _ = self.run_script()
        self.assertIn(f"{self.folder}/made/results was made with UPDATES=30, and this is UPDATES=200; give", said)
        self.assertEqual(self.made(UPDATES="30", MEMORY="1G"), [])

    def test_results_that_are_older_than_their_settings_are_taken(self):
        self.made()
        (self.folder / "made/results/settings").unlink()
        status, said, calls = self.run_script()
        self.assertEqual((status, len(calls)), (0, 1), said)
        self.assertIn("taken as made with UPDATES=200 TOKENS=2048", said)
        self.assertEqual(self.run_script(BLOCKS="7")[0], 2)


class Verdict(unittest.TestCase):
    def test_says_whether_upcycling_gained(self):
        results = {"run-dense": {"perplexity": 40.0}, "run-copy": {"perplexity": 38.0}}
        self.assertIn("DTS with `--diversify copy` comes out best: its perplexity is 5.0% lower",
                      smollm2_peer.verdict("copy", results))
        results["run-copy"]["perplexity"] = 40.5
        self.assertIn("gains nothing: the best mixture, DTS with `--diversify copy`, has 40.5000 where the dense model "
                      "has 40.0000", smollm2_peer.verdict("copy", results))


if __name__ == "__main__":
    unittest.main()
