"""The page that scripts/results.py writes: a section for each plan that there is."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from results import HEAD, page_with, sections_of  # noqa: E402


class PageTest(unittest.TestCase):
    def test_a_section_takes_the_place_of_the_one_with_its_title(self):
        page = page_with("## b\n\nnew", "# Old\n\nhead\n\n## a\n\nfirst\n\n### c\n\nof a\n\n## b\n\nold\n", ["a", "b"])
        self.assertEqual(page, HEAD + "\n\n## a\n\nfirst\n\n### c\n\nof a\n\n## b\n\nnew\n")
        self.assertEqual(page_with("## b\n\nnew", page, ["a", "b"]), page)

    def test_the_first_one_makes_the_page(self):
        self.assertEqual(page_with("## b\n\nnew", "", ["a", "b"]), HEAD + "\n\n## b\n\nnew\n")

    def test_sections_of_plans_that_are_gone_are_left_out_and_others_are_in_their_order(self):
        page = "# Results\n\n## gone\n\nwas\n\n## b\n\nit\n"
        self.assertEqual(list(sections_of(page_with("## a\n\nnew", page, ["a", "b", "not made yet"]))), ["a", "b"])

    def test_the_page_that_is_there_has_the_sections_of_its_plans(self):
        from results import PAGE, question
        titles = [question(plan)[0] for plan in (ROOT / "recipes/plans").glob("*.yaml")]
        for title in sections_of(PAGE.read_text(encoding="utf-8")):
            self.assertIn(title, titles)


if __name__ == "__main__":
    unittest.main()
