"""The pages: lines of at most 120 columns, links to files that are there, and citations of sections that exist."""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENERATED = {"options.md", "migration.md"}  # evomoe options writes these from the option table
PAGES = [page for folder in ("", "docs", "tests/golden", "tests/golden/training")
         for page in sorted((ROOT / folder).glob("*.md"))]
SOURCES = [path for folder in ("apps", "cmake", "evomoe", "examples", "python", "recipes", "scripts", "tests")
           for path in sorted((ROOT / folder).rglob("*"))
           if path.suffix in {".h", ".cpp", ".cu", ".cuh", ".py", ".sh", ".cmake", ".yaml"}]


def prose(page):
    """(number, line) of a page, without code."""
    in_code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


def sections_of(page):
    """The numbers of its headings and of the items of numbered lists below them: {"7", "7.2", "12.1.4", ...}."""
    sections, heading = set(), ""
    for _, line in prose(page):
        if match := re.match(r"#+ (\d+(?:\.\d+)*)\.? ", line):
            heading = match.group(1)
            sections.add(heading)
        elif match := re.match(r"(\d+)\. ", line):
            sections.add(f"{heading}.{match.group(1)}")
    return sections


class Docs(unittest.TestCase):
    def test_lines_of_prose_have_at_most_120_columns(self):
        wide = [f"{page.relative_to(ROOT)}:{number}" for page in PAGES if page.name not in GENERATED
                for number, line in prose(page)
                if len(line) > 120 and not line.lstrip().startswith("|")]
        self.assertEqual(wide, [])

    def test_links_lead_to_files_that_are_there(self):
        broken = [f"{page.relative_to(ROOT)}: {link}" for page in PAGES
                  for _, line in prose(page)
                  for link in re.findall(r"\]\(([^)#\s]+)", re.sub(r"`[^`]*`", "", line))
                  if not link.startswith("http") and not (page.parent / link).exists()]
        self.assertEqual(broken, [])

    def test_pages_and_sections_that_sources_cite_exist(self):
        sections = sections_of(ROOT / "docs/reference.md")
        wrong = []
        for path in [*SOURCES, *PAGES]:
            # Across the ends of lines of comments.
            text = re.sub(r"\s*\n\s*(?:///?|#)?\s*", " ", path.read_text(encoding="utf-8"))
            wrong += [f"{path.relative_to(ROOT)}: {page}" for page in re.findall(r"\bdocs/[\w-]+\.md\b", text)
                      if not (ROOT / page).exists()]
            cited = re.findall(r"docs/reference\.md sections? ([\d.]*\d)(?:(?: to| and|,) ([\d.]*\d))?", text)
            wrong += [f"{path.relative_to(ROOT)}: section {section}" for pair in cited for section in pair
                      if section and section not in sections]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
