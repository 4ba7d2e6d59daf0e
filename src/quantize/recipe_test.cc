#include "quantize/recipe.h"

#include "base/status.h"
#include "support.h"

namespace dyadic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

void check_blue(const Part& part) {
  if (part.integer("bits", 8) > 16) fail(ErrorKind::kMalformed, "blue: bits must be at most 16");
}

// Recipes know the names of parts from their vocabulary only.
const RecipeVocabulary& vocabulary() {
  static const RecipeVocabulary words = {{
      {"encode", {{"blue", {{"bits", "axis", "ratio", "narrow"}, check_blue}}, {"green", {{"bits"}}}}},
      {"fit", {{"widest", {{"headroom"}}}, {"narrowest", {}}}},
      {"approximate", {{"table", {{"steps"}}}, {"line", {}}}},
      {"restructure", {{"fold", {{"depth"}}}, {"split", {{"alpha"}}}}},
  }};
  return words;
}

Recipe parse(const std::string& text) { return parse_recipe(text, "test.toml", vocabulary()); }
Recipe rules(const std::string& text) { return parse("name = \"test\"\n" + text); }

// Three layers of a product, a function and a residual add; then an add of a constant and a product of two computed
// values.
const Graph& toy() {
  static const Graph made = [] {
    Graph graph;
    const auto value = [](const std::string& name) {
      Value v;
      v.name = name;
      v.type = DataType::kF32;
      v.shape = {"T", 4};
      return v;
    };
    ValueId last = graph.add_input(value("x"));
    const ValueId w = graph.add_constant("w", Tensor(DataType::kF32, {4, 4}));
    const auto add = [&](const std::string& op, const std::string& name, std::vector<ValueId> inputs) {
      Node node;
      node.op = op;
      node.name = name;
      node.inputs = std::move(inputs);
      node.outputs = {last = graph.add_value(value(name))};
      graph.add_node(std::move(node));
    };
    for (const std::string layer : {"layer.0", "layer.1", "layer.10"}) {
      const ValueId identity = last;
      add("Gemm", "encoder/" + layer + "/dense", {identity, w});
      add("Gelu", "encoder/" + layer + "/gelu", {last});
      add("Add", "encoder/" + layer + "/add", {last, identity});
    }
    add("Add", "offset", {last, w});
    add("Gemm", "layer.norm", {last, last});
    graph.outputs = {last};
    return graph;
  }();
  return made;
}

Answers answers(const Recipe& recipe, const std::string& name) {
  for (const Node& node : toy().nodes)
    if (node.name == name) return answers_for(recipe, toy(), node);
  ADD_FAILURE() << "no node " << name;
  return {};
}

// Names of the nodes that a rule with these selectors matches.
std::vector<std::string> matched(const std::string& selectors) {
  const Recipe recipe = rules("[[rule]]\napproximate = \"line\"\n" + selectors);
  std::vector<std::string> names;
  for (const Node& node : toy().nodes)
    if (answers_for(recipe, toy(), node).approximate) names.push_back(node.name);
  return names;
}

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMalformed) << e.what();
    return e.what();
  }
  return "no error";
}
std::string rule_refusal(const std::string& text) { return refusal("name = \"test\"\n[[rule]]\n" + text); }

TEST(Recipe, Heading) {
  const std::string text =
      "name = \"one\"\ndescription = \"two\"\nsource = \"three\"\nrequire = \"integer\"\n[calibration]\nsample = 7\n";
  const Recipe recipe = parse(text);
  EXPECT_EQ(recipe.name, "one");
  EXPECT_EQ(recipe.description, "two");
  EXPECT_EQ(recipe.source, "three");
  EXPECT_EQ(recipe.text, text);
  EXPECT_TRUE(recipe.require_integer);
  EXPECT_EQ(recipe.calibration_sample, 7);
  EXPECT_THAT(recipe.rules, IsEmpty());
  const Recipe least = parse("name = \"x\"");
  EXPECT_FALSE(least.require_integer);
  EXPECT_EQ(least.calibration_sample, 512);
}

TEST(Recipe, PartsHaveThreeSpellings) {
  const Recipe recipe = rules(R"(
[[rule]]
encode.weight = "blue"
encode.input = { blue = true }
encode.q = { blue = { bits = 4, ratio = 0.5, narrow = false, axis = "out" } }
fit = { input = "widest" }
)");
  ASSERT_EQ(recipe.rules.size(), 1u);
  EXPECT_EQ(recipe.rules[0].line, 3);
  const auto& encode = recipe.rules[0].answers.encode;
  EXPECT_EQ(encode.at("weight"), (Part{"blue", {}}));
  EXPECT_EQ(encode.at("input"), (Part{"blue", {}}));
  const Part& q = encode.at("q");
  EXPECT_EQ(q.integer("bits", 0), 4);
  EXPECT_EQ(q.number("ratio", 0), 0.5);
  EXPECT_EQ(q.number("bits", 0), 4.0);
  EXPECT_FALSE(q.boolean("narrow", true));
  EXPECT_EQ(q.text("axis", ""), "out");
  EXPECT_EQ(q.integer("absent", -3), -3);
  EXPECT_EQ(to_string(q), "blue(axis=out, bits=4, narrow=false, ratio=0.5)");
  EXPECT_EQ(to_string(Part{"blue", {}}), "blue");
  EXPECT_THROW(q.integer("ratio", 0), Error);
  EXPECT_THROW(q.number("axis", 0), Error);
  EXPECT_EQ(recipe.rules[0].answers.fit.at("input").name, "widest");
}

TEST(Recipe, LaterRulesOverrideKeyByKey) {
  const Recipe recipe = rules(R"(
[[rule]]
op = "Gemm"
encode.input = { blue = { bits = 8, axis = "out" } }
encode.weight = { blue = { bits = 8 } }
fit.input = { widest = { headroom = 2 } }
[[rule]]
match = "*/layer.1/*"
encode.input = { blue = { bits = 4 } }
)");
  const Answers other = answers(recipe, "encoder/layer.0/dense"), changed = answers(recipe, "encoder/layer.1/dense");
  EXPECT_EQ(to_string(other.encode.at("input")), "blue(axis=out, bits=8)");
  EXPECT_EQ(to_string(changed.encode.at("input")), "blue(axis=out, bits=4)");
  EXPECT_EQ(to_string(changed.encode.at("weight")), "blue(bits=8)");
  EXPECT_EQ(to_string(changed.fit.at("input")), "widest(headroom=2)");
}

TEST(Recipe, AnotherPartReplacesTheEarlierOne) {
  const Recipe recipe = rules(R"(
[[rule]]
encode.input = { blue = { bits = 8, axis = "out" } }
approximate = { table = { steps = 3 } }
[[rule]]
op = "Gelu"
encode.input = { green = { bits = 3 } }
approximate = "line"
)");
  const Answers gelu = answers(recipe, "encoder/layer.0/gelu"), gemm = answers(recipe, "encoder/layer.0/dense");
  EXPECT_EQ(to_string(gelu.encode.at("input")), "green(bits=3)");
  EXPECT_EQ(to_string(*gelu.approximate), "line");
  EXPECT_EQ(to_string(gemm.encode.at("input")), "blue(axis=out, bits=8)");
  EXPECT_EQ(to_string(*gemm.approximate), "table(steps=3)");
}

TEST(Recipe, OneNodeMayHaveSeveralRestructurings) {
  const Recipe recipe = rules(R"(
[[rule]]
restructure = "fold"
[[rule]]
restructure.split = { alpha = 0.5 }
[[rule]]
restructure.fold = { depth = 2 }
)");
  const auto restructure = answers(recipe, "offset").restructure;
  ASSERT_EQ(restructure.size(), 2u);
  EXPECT_EQ(to_string(restructure.at("fold")), "fold(depth=2)");
  EXPECT_EQ(to_string(restructure.at("split")), "split(alpha=0.5)");
}

TEST(Recipe, RulesSelectByOperatorAndGlob) {
  EXPECT_EQ(matched("").size(), toy().nodes.size());
  EXPECT_THAT(matched("op = \"Gelu\"\nmatch = \"*.1/*\""), ElementsAre("encoder/layer.1/gelu"));
  EXPECT_THAT(matched("op = [\"Gelu\", \"Softmax\"]"),
              ElementsAre("encoder/layer.0/gelu", "encoder/layer.1/gelu", "encoder/layer.10/gelu"));
  EXPECT_THAT(matched("match = \"encoder/layer.?/gelu\""), ElementsAre("encoder/layer.0/gelu", "encoder/layer.1/gelu"));
  EXPECT_THAT(matched("match = \"offset\""), ElementsAre("offset"));
  EXPECT_THAT(matched("match = [\"off*\", \"*norm\"]"), ElementsAre("offset", "layer.norm"));
  EXPECT_THAT(matched("match = \"*\"").size(), toy().nodes.size());
  EXPECT_THAT(matched("match = \"o*f*e?\""), ElementsAre("offset"));
  EXPECT_THAT(matched("match = \"***offset***\""), ElementsAre("offset"));
  for (const char* none : {"match = \"offse\"", "match = \"ffset\"", "match = \"offset?\"", "match = \"\"",
                           "match = []\nop = \"None\"", "op = \"gelu\""})
    EXPECT_THAT(matched(none), IsEmpty()) << none;
}

TEST(Recipe, GlobOfManyStarsIsNotExponential) {
  std::string pattern;
  for (int i = 0; i < 40; ++i) pattern += "*e";
  EXPECT_THAT(matched("match = \"" + pattern + "x\""), IsEmpty());
}

TEST(Recipe, Predicates) {
  EXPECT_THAT(matched("op = [\"Gemm\", \"Add\"]\nwhere.weight = \"constant\""),
              ElementsAre("encoder/layer.0/dense", "encoder/layer.1/dense", "encoder/layer.10/dense", "offset"));
  EXPECT_THAT(matched("where = { residual = true }"),
              ElementsAre("encoder/layer.0/add", "encoder/layer.1/add", "encoder/layer.10/add"));
  EXPECT_THAT(matched("op = \"Add\"\nwhere.residual = false"), ElementsAre("offset"));
  EXPECT_THAT(matched("where.reads = \"Gemm\""),
              ElementsAre("encoder/layer.0/gelu", "encoder/layer.1/gelu", "encoder/layer.10/gelu"));
  EXPECT_THAT(matched("where.reads = [\"Softmax\", \"gelu\"]"), IsEmpty());
  EXPECT_THAT(matched("op = \"Gelu\"\nwhere.layer = [0, -1]"),
              ElementsAre("encoder/layer.0/gelu", "encoder/layer.10/gelu"));
  EXPECT_THAT(matched("op = \"Gelu\"\nwhere.layer = [1, 5, -10]"), ElementsAre("encoder/layer.1/gelu"));
  // "layer.norm" has no number, nor has "offset".
  EXPECT_EQ(matched("where.layer = [0, 1, 10]").size(), 9u);
}

TEST(Recipe, AbsentOptionalInputsAreNoWeights) {
  Graph graph = toy();
  graph.nodes[0].inputs = {graph.inputs[0], -1};
  const Recipe recipe = rules("[[rule]]\nwhere.weight = \"constant\"\napproximate = \"line\"");
  EXPECT_FALSE(answers_for(recipe, graph, graph.nodes[0]).approximate);
}

TEST(Recipe, LayerNumbersOutsideAnyRangeAreNone) {
  Graph graph = toy();
  graph.nodes[0].name = "layer.99999999999999999999999/dense";
  const Recipe recipe = rules("[[rule]]\nwhere.layer = [0, -1]\napproximate = \"line\"");
  EXPECT_FALSE(answers_for(recipe, graph, graph.nodes[0]).approximate);
}

TEST(Recipe, MatchedRulesAreCollected) {
  const Recipe recipe = rules("[[rule]]\nop = \"Gelu\"\n[[rule]]\nop = \"Conv\"\n[[rule]]\nmatch = \"off*\"\n");
  std::set<size_t> seen;
  for (const Node& node : toy().nodes) answers_for(recipe, toy(), node, &seen);
  EXPECT_THAT(seen, UnorderedElementsAre(0, 2));
}

TEST(Recipe, EveryUnknownNameIsRefusedWithItsLine) {
  EXPECT_THAT(refusal("name = \"x\"\n\nnmae = 1"), StartsWith("test.toml:3: unknown key 'nmae'"));
  EXPECT_THAT(refusal("name = \"x\"\n[calibration]\nsmaple = 1"), StartsWith("test.toml:3: unknown key 'smaple'"));
  EXPECT_THAT(rule_refusal("ops = \"Gemm\""), StartsWith("test.toml:3: unknown key 'ops' in a rule"));
  EXPECT_THAT(rule_refusal("\nwhere = { wieght = \"constant\" }"),
              StartsWith("test.toml:4: unknown predicate 'wieght'"));
  EXPECT_THAT(rule_refusal("encode.wieght = \"blue\""),
              StartsWith("test.toml:3: unknown role 'wieght' in 'encode'; known: input, k, output, q, v, weight"));
  EXPECT_THAT(rule_refusal("encode.weight = \"bleu\""),
              StartsWith("test.toml:3: unknown part 'bleu' for 'encode'; known: blue, green"));
  EXPECT_THAT(rule_refusal("fit.input = { wide = { } }"), StartsWith("test.toml:3: unknown part 'wide' for 'fit'"));
  EXPECT_THAT(rule_refusal("approximate = \"blue\""), HasSubstr("unknown part 'blue' for 'approximate'"));
  EXPECT_THAT(rule_refusal("restructure.flod = {}"), HasSubstr("unknown part 'flod' for 'restructure'"));
  EXPECT_THAT(rule_refusal("encode.weight = { blue = {\n bist = 4 } }"), StartsWith("test.toml:3:"));
  EXPECT_THAT(rule_refusal("encode.weight.blue.bist = 4"),
              StartsWith("test.toml:3: part 'blue' has no parameter 'bist'"));
  EXPECT_THAT(rule_refusal("restructure.fold = { alpha = 1 }"), HasSubstr("part 'fold' has no parameter 'alpha'"));
}

TEST(Recipe, WrongTypesAreRefused) {
  for (const char* text : {"name = 3", "name = \"x\"\ndescription = []", "name = \"x\"\nrequire = \"float\"",
                           "name = \"x\"\nrequire = true", "name = \"x\"\ncalibration = 4",
                           "name = \"x\"\n[calibration]\nsample = 0", "name = \"x\"\n[calibration]\nsample = 1.5",
                           "name = \"x\"\nrule = 1", "name = \"x\"\nrule = [1]", "name = \"x\"\n[rule]\nop = \"Gemm\""})
    EXPECT_THAT(refusal(text), StartsWith("test.toml:")) << text;
  for (const char* text : {"op = 1",
                           "op = [1]",
                           "match = [\"a\", 1]",
                           "match = {}",
                           "where = 1",
                           "where.layer = 0",
                           "where.layer = []",
                           "where.layer = [0, \"x\"]",
                           "where.residual = 1",
                           "where.weight = \"float\"",
                           "encode = \"blue\"",
                           "encode.weight = 8",
                           "encode.weight = {}",
                           "encode.weight = { blue = {}, green = {} }",
                           "encode.weight = { blue = 8 }",
                           "encode.weight = { blue = false }",
                           "encode.weight = { blue = { bits = [8] } }",
                           "encode.weight = { blue = { bits = {} } }",
                           "encode.weight = { blue = { bits = 1979-05-27 } }",
                           "restructure = 1",
                           "restructure.fold = 3",
                           "approximate = {}",
                           "approximate = [\"table\"]"})
    EXPECT_THAT(rule_refusal(text), StartsWith("test.toml:3: ")) << text;
}

TEST(Recipe, NumbersMustBeFinite) {
  for (const char* number : {"nan", "+nan", "-nan", "inf", "-inf", "1e400"})
    EXPECT_THAT(rule_refusal(cat("encode.weight = { blue = { ratio = ", number, " } }")), StartsWith("test.toml:3: "))
        << number;
}

TEST(Recipe, PartsCheckTheirParameters) {
  EXPECT_EQ(rule_refusal("op = \"Gemm\"\nencode.weight = { blue = { bits = 17 } }"),
            "test.toml:4: blue: bits must be at most 16");
  EXPECT_EQ(rule_refusal("encode.weight = { blue = { bits = \"many\" } }"),
            "test.toml:3: blue: parameter 'bits' has the wrong type");
}

TEST(Recipe, InvalidTomlIsRefusedWithItsLine) {
  for (const char* text : {"name = \"x\"\nx", "name = \"x\"\nop = [", "name = \"x\"\nname = \"y\"",
                           "name = \"x\"\n\"open", "name = \"x\"\n[[rule]", "name = \"x\"\nk = 99999999999999999999",
                           "name = \"x\"\nk = \"\xff\xfe\"", "name = \"x\"\nk = \"\\q\""})
    EXPECT_THAT(refusal(text), StartsWith("test.toml:2: not valid TOML: ")) << text;
  EXPECT_THAT(refusal(std::string("name = \"x\"\n\0 = 1", 16)), StartsWith("test.toml:2: not valid TOML: "));
  EXPECT_EQ(refusal(""), "test.toml: key 'name' is missing");
  EXPECT_EQ(refusal("name = \"\""), "test.toml: key 'name' is missing");
}

TEST(Recipe, SizeIsBounded) {
  EXPECT_THAT(refusal("name = \"x\"\n" + std::string(1 << 18, '#')), HasSubstr("at most 256 KiB"));
  EXPECT_EQ(parse("name = \"x\"\n#" + std::string(200000, 'x')).name, "x");
}

TEST(Recipe, DepthIsBounded) {
  const auto repeat = [](int n, const std::string& text) {
    std::string result;
    for (int i = 0; i < n; ++i) result += text;
    return result;
  };
  EXPECT_THAT(refusal("name = \"x\"\n" + repeat(100000, "a.") + "a = 1"),
              StartsWith("test.toml:2: more than 128 dots in one line"));
  EXPECT_THAT(refusal("\n[" + repeat(129, "a.") + "a]"), StartsWith("test.toml:2: more than 128 dots"));
  EXPECT_THAT(refusal(repeat(128, "a.") + "a = 1"), StartsWith("test.toml:1: unknown key 'a'"));
  EXPECT_THAT(refusal("x = " + repeat(50000, "[")), StartsWith("test.toml:1: not valid TOML"));
  EXPECT_THAT(refusal("x = " + repeat(30000, "{ a = ")), StartsWith("test.toml:1: not valid TOML"));
  // Each line as deep as it may be, the lines inside one another.
  const std::string key = repeat(120, "a.") + "a";
  EXPECT_THAT(refusal(key + " = [\n" + repeat(60, "{" + key + " = [\n") + repeat(60, "]}") + "]"),
              StartsWith("test.toml:1: unknown key 'a'"));
}

}  // namespace
}  // namespace dyadic
