// What cannot be C is refused by name; the plan of static memory; names that C would not take.
#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "export/c/export_c.h"
#include "export/c/program.h"
#include "graph/builder.h"
#include "support.h"

namespace dyadic {
namespace {

using namespace export_c_detail;
using testing::HasSubstr;

constexpr DataType kI16 = DataType::kI16, kI32 = DataType::kI32;

// token i32 [T] -> a chain of layers with the given names, each adding one -> i16 [T].
Model chain(const std::vector<std::string>& names) {
  BodyBuilder b("step");
  const Var x = b.input("x", kI32, {"T"}, {0, 1000});
  b.output(b.cast(b.min(b.add(x, 1), 1000), kI32), "y");
  const Body body{1, b.build()};
  Model model;
  model.symbols = {{"T", {64, ""}}};
  model.bodies[body.key()] = body;
  Graph& main = model.graphs["main"];
  ValueId value = main.add_input({"token", kI32, {"T"}, Fact{{0, 1000}, "input"}, {}, {}});
  for (const std::string& name : names) {
    const ValueId next = main.add_value({"", kI32, {"T"}, {}, {}, {}});
    main.add_node({"step", name, {value}, {next}, {}, body.key()});
    value = next;
  }
  main.outputs = {value};
  return model;
}

CExportOptions options(int64_t max_length = 64) {
  CExportOptions result;
  result.max_length = max_length;
  return result;
}

std::string refusal(const Model& model, const CExportOptions& o, ErrorKind kind) {
  try {
    check_exportable(model, o);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "not refused";
}

TEST(ExportC, RefusesRealNumbersByLayer) {
  Model model = chain({"first"});
  Body edge;
  edge.graph.name = "edge";
  const ValueId y = edge.graph.add_input({"y", kI32, {"T"}, Fact{{0, 1000}, "input"}, {}, {}});
  const ValueId real = edge.graph.add_value({"real", DataType::kF32, {"T"}, {}, {}, {}});
  edge.graph.add_node({"dequantize", "", {y}, {real}, {{"scale", 0.5}}, ""});
  const ValueId code = edge.graph.add_value({"code", kI16, {"T"}, {}, {}, {}});
  edge.graph.add_node({"quantize", "", {real}, {code}, {{"scale", 0.5}, {"lo", int64_t{-5}}, {"hi", int64_t{5}}}, ""});
  edge.graph.outputs = {code};
  model.bodies[edge.key()] = edge;
  Graph& main = model.main();
  const ValueId out = main.add_value({"codes", kI16, {"T"}, {}, {}, {}});
  main.add_node({"edge", "the/edge", {main.outputs[0]}, {out}, {}, edge.key()});
  main.outputs = {out};
  EXPECT_THAT(refusal(model, options(), ErrorKind::kContract), HasSubstr("the/edge"));
}

TEST(ExportC, RefusesWhatIsNoText) {
  Model model = chain({"first"});
  model.main().add_input({"other", kI32, {"T"}, {}, {}, {}});
  EXPECT_THAT(refusal(model, options(), ErrorKind::kContract), HasSubstr("takes one input"));
  model = chain({"first"});
  model.main().add_input({"position", kI32, {"T"}, Fact{{0, 9}, "input"}, {}, {}});
  EXPECT_THAT(refusal(model, options(11), ErrorKind::kContract), HasSubstr("input 'position', i32[T] of 0..9"));
  EXPECT_EQ(refusal(model, options(10), ErrorKind::kContract), "not refused");
  model.main().outputs.clear();
  EXPECT_THAT(refusal(model, options(10), ErrorKind::kContract), HasSubstr("one computed result"));
  model.main().outputs = {model.main().inputs[0]};
  EXPECT_THAT(refusal(model, options(10), ErrorKind::kContract), HasSubstr("one computed result"));
  EXPECT_THAT(refusal(chain({"first"}), options(65), ErrorKind::kUsage), HasSubstr("1..64"));
}

TEST(ExportC, GivesEveryLayerANameOfItsOwn) {
  const std::vector<std::string> names = {"a/b.c",           "a_b_c", "int",    "arena", "step",     "model",
                                          "memcpy",          "1st",   "*/ \"?", "AT_1",  "MODEL_OK", "model_run",
                                          "scratch_of_step", "VALUE"};
  const CProgram program = plan_program(chain(names), options(), {"arena", "model"});
  std::set<std::string> unique = {program.functions.at(0).function.name, "arena", "model", "int", "memcpy"};
  for (const CLayer& layer : program.layers) {
    EXPECT_TRUE(unique.insert(layer.name).second) << layer.name;
    EXPECT_TRUE(
        std::all_of(layer.name.begin(), layer.name.end(), [](unsigned char c) { return isalnum(c) || c == '_'; }));
  }
  EXPECT_EQ(program.layers[0].name, "a_b_c");
  const CExport made = export_c(chain(names), options(), {{{1, 2}}, {0, 0}, std::vector<uint64_t>(names.size())});
  const std::string folder = test::temporary_dir();
  for (const auto& [name, text] : made.files) std::ofstream(folder + "/" + name) << text;
  if (std::system("command -v cc >/dev/null 2>&1") != 0) GTEST_SKIP() << "SKIPPED: no C compiler named cc";
  EXPECT_EQ(std::system(("cc -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only " + folder + "/model.c").c_str()),
            0);
}

TEST(ExportC, SharesMemoryOfValuesThatDoNotLiveTogether) {
  const CProgram two = plan_program(chain({"a", "b"}), options(), {});
  const CProgram many = plan_program(chain({"a", "b", "c", "d", "e", "f"}), options(), {});
  EXPECT_EQ(two.arena_bytes, many.arena_bytes);
  EXPECT_EQ(many.functions.size(), 1u);
  EXPECT_EQ(many.functions[0].layers, 6);
}

// What holds at the maximum must hold for every shorter text: the slots' rules, evaluated.
TEST(ExportC, KeepsBuffersApartAtEveryLength) {
  const Model model = chain({"a", "b", "c"});
  const CProgram program = plan_program(model, options(), {});
  for (int64_t length = 1; length <= 64; ++length) {
    const auto bytes = [&](const CBytes& b) {
      int64_t sum = 0;
      for (const auto& [count, size] : b.parts) sum += (count.value({{"T", length}}) * size + 63) / 64 * 64;
      return sum;
    };
    std::vector<int64_t> at;
    for (const CSlot& slot : program.slots) {
      at.push_back(0);
      for (const auto& [below, size] : slot.behind) at.back() = std::max(at.back(), at.at(below) + bytes(size));
    }
    for (const CLayer& layer : program.layers) {
      const int64_t in = at[program.slot_of.at(layer.node->inputs[0])],
                    out = at[program.slot_of.at(layer.node->outputs[0])];
      EXPECT_GE(std::abs(in - out), (length * 4 + 63) / 64 * 64) << "length " << length;
      EXPECT_LE(std::max(in, out) + length * 4, at.back());
    }
  }
}

}  // namespace
}  // namespace dyadic
