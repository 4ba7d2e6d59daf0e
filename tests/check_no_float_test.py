"""scripts/check_no_float on planted objects: it must name file, function and instruction of each, and let integers pass.

usage: check_no_float_test.py C_COMPILER ARCHIVE   the archive, libdyadic_runtime, must be free of float
"""
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "scripts" / "check_no_float"
COMPILER, ARCHIVE = sys.argv[1:3]

INTEGERS = """
#include <stdint.h>
#include <string.h>
int32_t total(const int8_t *x, int n) { int32_t s = 0; for (int i = 0; i < n; ++i) s += x[i] * x[i]; return s; }
void carry(double *to, const double *from) { *to = *from; }
void copy(char *to, const char *from) { memcpy(to, from, 64); }
"""

# Function -> source, and what must be named on x86-64.
PLANTED = {
    "product": ("float product(float a, float b) { return a * b; }", "product: mulss"),
    "sum": ("double sum(double a, double b) { return a + b; }", "sum: addsd"),
    "widen": ("double widen(int x) { return x; }", "widen: cvtsi2sd"),
    "less": ("int less(float a, float b) { return a < b; }", "less: u?comiss"),
    "vector": ("void vector(float *x) { for (int i = 0; i < 64; ++i) x[i] = x[i] / 3.0f; }", "vector: divps"),
    "extended": ("long double extended(long double x) { return x * x; }", "extended: f"),
    "library": ("double floor(double); double library(double x) { return floor(x); }", "calls floor"),
    "soft": ("float __addsf3(float, float); float soft(float a, float b) { return __addsf3(a, b); }", "calls __addsf3"),
}


class CheckNoFloat(unittest.TestCase):
    def setUp(self):
        if shutil.which("objdump") is None or platform.machine() != "x86_64":
            self.skipTest("SKIPPED: needs objdump and x86-64")
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def compile(self, name, source):
        path = pathlib.Path(self.folder.name) / name
        path.with_suffix(".c").write_text(source)
        command = [COMPILER, "-O3", "-fno-builtin", "-c", "-o", str(path.with_suffix(".o")), str(path.with_suffix(".c"))]
        subprocess.run(command, check=True)
        return str(path.with_suffix(".o"))

    def check(self, *objects):
        result = subprocess.run([SCRIPT, *objects], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return result.returncode, result.stdout

    def test_integers_pass(self):
        code, output = self.check(self.compile("integers", INTEGERS))
        self.assertEqual(code, 0, output)

    def test_each_planted_function_is_named(self):
        for name, (source, message) in PLANTED.items():
            with self.subTest(name):
                code, output = self.check(self.compile(name, source))
                self.assertEqual(code, 1, output)
                self.assertIn(f"{name}.o: ", output)
                self.assertRegex(output, message)

    def test_one_instruction_in_an_archive_is_found(self):
        archive = pathlib.Path(self.folder.name) / "library.a"
        shutil.copy(ARCHIVE, archive)
        source, message = PLANTED["product"]
        subprocess.run(["ar", "q", str(archive), self.compile("planted", source)], check=True)
        code, output = self.check(str(archive))
        self.assertEqual(code, 1)
        self.assertIn(f"planted.o: {message}", output)
        self.assertEqual(output.count(".o: "), 1, output)
        self.assertTrue(archive.exists())
        self.check("--remove", str(archive))
        self.assertFalse(archive.exists())

    def test_runtime_has_none(self):
        code, output = self.check(ARCHIVE)
        self.assertEqual(code, 0, output)

    def test_what_is_no_object_is_an_error(self):
        self.assertNotEqual(self.check(str(SCRIPT))[0], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
