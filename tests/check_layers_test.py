"""scripts/check_layers on small trees with one planted violation each: it must find that one, and nothing in a lawful tree."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "scripts" / "check_layers"

LAWFUL = {
    "include/dyadic/session.h": "#include <string>\n#include <dyadic/tensor.h>\n",
    "include/dyadic/tensor.h": "#include <cstdint>\n",
    "src/base/status.h": "#include <string>\n",
    "src/base/json.cc": "#include <nlohmann/json.hpp>\n",
    "src/tensor/tensor.h": '#include "base/status.h"\n',
    "src/graph/graph.h": '#include "tensor/tensor.h"\n#include "ops.inc"\n',
    "src/graph/ops.inc": "",
    "src/graph/test.cc": '#include "api/flows.h"\n',
    "src/kernels/dot/dot.h": '#include "tensor/tensor.h"\n',
    "src/runtime/public/session.cc": '#include "dyadic/session.h"\n#include "runtime/plan.h"\n',
    "src/runtime/plan.h": '#include "graph/graph.h"\n#include "kernels/dot/dot.h"\n',
    "src/real/executor.cc": '#include <oneapi/dnnl/dnnl.hpp>\n#include "graph/graph.h"\n',
    "src/io/text.cc": '#include <unicode/uchar.h>\n#include "real/model.h"\n',
    "src/real/model.h": "",
    "src/quantize/recipe.cc": '#include <toml++/toml.h>\n#include "runtime/plan.h"\n',
    "src/methods/first_way/method.cc": '#include "quantize/method.h"\n// unlike second_way\n',
    "src/quantize/method.h": "",
    "src/methods/second_way/kernels/row.cc": '#include "kernels/dot/dot.h"\n',
    "src/methods/methods.inc": "DYADIC_METHOD(first_way)\nDYADIC_METHOD(second_way)\n",
    "src/api/flows.h": '#include "dyadic/session.h"\n#include "io/text.h"\n',
    "src/io/text.h": "",
    "apps/dyadic/main.cc": '#include <CLI/CLI.hpp>\n#include "api/flows.h"\n#include "base/status.h"\n#include "dyadic/session.h"\n',
}

# What is added to the lawful tree -> a part of the message.
PLANTED = [
    ("src/base/status.cc", '\n#include "tensor/tensor.h"\n', "src/base/status.cc:2: layer base includes"),
    ("src/graph/bad.cc", '#include "kernels/dot/dot.h"\n', "layer graph includes"),
    ("src/kernels/dot/portable.cc", '#include "graph/graph.h"\n', "layer kernels includes"),
    ("src/quantize/bad.cc", '#include "io/text.h"\n', "layer quantize includes"),
    ("src/quantize/bad.cc", '#include "../io/text.h"\n', "layer quantize includes"),
    ("src/methods/first_way/bad.cc", '#include "methods/second_way/kernels/row.cc"\n', "of method second_way"),
    ("src/methods/second_way/kernels/bad.cc", '#include "graph/graph.h"\n', "layer kernels includes"),
    ("src/runtime/bad.cc", "#include <oneapi/dnnl/dnnl.hpp>\n", "which is kept to real"),
    ("src/io/bad.cc", "#include <rapidjson/reader.h>\n", "which is kept to base"),
    ("src/base/bad.cc", '#include "elsewhere.h"\n', "is in no layer"),
    ("src/other/bad.cc", "", "folder of no known layer"),
    ("include/dyadic/bad.h", "#include <nlohmann/json.hpp>\n", "a public header includes"),
    ("include/dyadic/bad.h", '#include "base/status.h"\n', "layer include includes"),
    ("src/graph/bad.cc", '#include "dyadic/session.h"\n', "layer graph includes"),
    ("apps/dyadic/bad.cc", '#include "quantize/method.h"\n', "layer apps includes"),
    ("apps/dyadic/bad.cc", '#include "base/json.h"\n', "layer apps includes"),
    ("src/quantize/bad.cc", 'if (name == "first-way") return;\n', "names the method first_way"),
    ("src/methods/second_way/bad.cc", "use(first_way);\n", "names the method first_way"),
]


def check(files, *arguments):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, SCRIPT, "--root", root, *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout


class CheckLayers(unittest.TestCase):
    def test_lawful_tree(self):
        self.assertEqual(check(LAWFUL), (0, f"check_layers: {len(LAWFUL)} files, includes point downward\n"))

    def test_planted(self):
        for name, text, message in PLANTED:
            with self.subTest(name=name, text=text):
                code, output = check({**LAWFUL, name: text})
                self.assertEqual(code, 1)
                self.assertEqual(len(output.splitlines()), 1, output)
                self.assertIn(message, output)

    def test_dot(self):
        code, output = check(LAWFUL, "--dot")
        self.assertEqual(code, 0)
        self.assertIn('"runtime" -> "kernels" [label = 1];', output)


if __name__ == "__main__":
    unittest.main()
