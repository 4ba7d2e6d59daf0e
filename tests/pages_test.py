"""bench/pages.py: measured tables go between their marks and nowhere else."""
import pathlib
import sys
import tempfile
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from pages import number, table, write_block  # noqa: E402

PAGE = "# Page\n\n<!-- begin a -->\n\nold\n\n<!-- end a -->\ntext\n<!-- begin b -->\n<!-- end b -->\nlast\n"


class Pages(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.page = pathlib.Path(self.folder.name) / "page.md"
        self.page.write_text(PAGE, encoding="utf-8")

    def test_replaces_one_block(self):
        write_block(self.page, "a", "new")
        self.assertEqual(self.page.read_text(encoding="utf-8"), PAGE.replace("old", "new"))

    def test_fills_an_empty_block_and_is_idempotent(self):
        write_block(self.page, "b", "new\n")
        once = self.page.read_text(encoding="utf-8")
        self.assertEqual(once, PAGE.replace("begin b -->\n", "begin b -->\n\nnew\n\n"))
        write_block(self.page, "b", "new\n")
        self.assertEqual(self.page.read_text(encoding="utf-8"), once)

    def test_refuses_a_page_without_the_marks(self):
        with self.assertRaisesRegex(SystemExit, "begin c"):
            write_block(self.page, "c", "new")
        self.assertEqual(self.page.read_text(encoding="utf-8"), PAGE)

    def test_the_pages_of_the_project_have_every_mark(self):
        docs = pathlib.Path(__file__).resolve().parent.parent / "docs"
        for file, best, below in (("performance.md", "avx512vnni", "avx2"), ("performance-amx.md", "amx", "avx512vnni")):
            page = (docs / file).read_text(encoding="utf-8")
            for name in ("limits", "shapes", "profile", "executors", f"peers-{best}-1", f"peers-{below}-1", f"peers-{best}-2"):
                self.assertIn(f"<!-- begin {name} -->\n", page)
                self.assertIn(f"<!-- end {name} -->", page)

    def test_table_and_numbers(self):
        self.assertEqual(table(["a", "b"], [[1, number(0.12345)], ["x", number(1234.5)]]),
                         "| a | b |\n| --- | --- |\n| 1 | 0.123 |\n| x | 1234 |")


if __name__ == "__main__":
    unittest.main()
