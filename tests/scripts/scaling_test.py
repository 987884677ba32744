"""The parts of scripts/scaling.py that measure nothing: what an interrupted run has measured is kept, and what it reads
of what commands print."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from measuring import json_lines, median_line  # noqa: E402
from scaling import Kept  # noqa: E402


class KeptTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "new/results.jsonl"

    @staticmethod
    def refuse():
        raise AssertionError("this was measured already")

    def test_goes_on_with_each_repeat_once(self):
        kept = Kept(self.path, go_on=False)
        for ms in (1, 2):
            kept.lines("bench step", lambda ms=ms: [{"ms": ms}])
        again = Kept(self.path, go_on=True)
        self.assertEqual(again.lines("bench step", self.refuse), [{"ms": 1}])
        self.assertEqual(again.lines("bench step", self.refuse), [{"ms": 2}])
        self.assertEqual(again.lines("bench step", lambda: [{"ms": 3}]), [{"ms": 3}])
        self.assertEqual(again.lines("bench link", lambda: []), [])
        self.assertEqual(Kept(self.path, go_on=True).waiting, {"bench step": [[{"ms": n}] for n in (1, 2, 3)],
                                                              "bench link": [[]]})

    def test_a_half_line_is_measured_again(self):
        self.path.parent.mkdir()
        self.path.write_text(json.dumps({"arguments": "a", "lines": [1]}) + '\n{"arguments": "b", "li', encoding="utf-8")
        kept = Kept(self.path, go_on=True)
        self.assertEqual(kept.lines("a", self.refuse), [1])
        self.assertEqual(kept.lines("b", lambda: [2]), [2])
        self.assertEqual(Kept(self.path, go_on=True).waiting, {"a": [[1]], "b": [[2]]})

    def test_begins_anew_when_not_asked_to_go_on(self):
        Kept(self.path, go_on=False).lines("a", lambda: [1])
        self.assertEqual(Kept(self.path, go_on=False).lines("a", lambda: [2]), [2])


class LinesTest(unittest.TestCase):
    def test_objects_are_read_and_other_lines_left_out(self):
        self.assertEqual(json_lines('a table\n{"ms_median": 3}\n\n[1]\n{"ms_median": 1}\n'),
                         [{"ms_median": 3}, {"ms_median": 1}])

    def test_the_line_in_the_middle_is_whole(self):
        lines = [{"ms_median": value, "round": number} for number, value in enumerate((9, 2, 5))]
        self.assertEqual(median_line(lines), {"ms_median": 5, "round": 2})
        self.assertEqual(median_line(lines, "round"), {"ms_median": 2, "round": 1})


if __name__ == "__main__":
    unittest.main()
