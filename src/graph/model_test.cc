#include "graph/model.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "graph/builder.h"
#include "graph/text.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::HasSubstr;

constexpr DataType kI8 = DataType::kI8, kU8 = DataType::kU8;

Tensor counting(DataType type, Dims dims) {
  Tensor tensor(type, std::move(dims));
  for (int64_t i = 0; i < tensor.count(); ++i) tensor.set(i, i % 100);
  return tensor;
}

Body shifted(int version = 1) {
  BodyBuilder b("shifted");
  const Var x = b.input("x", kI8, {"T", 8}, {-100, 20});
  const Var table = b.constant(counting(kI8, {128}), "table");
  const Var bias = b.input("bias", kI8, {8});
  b.output(b.add(b.lookup(table, b.cast(b.abs(x), kU8)), bias), "y");
  return {version, b.build()};
}

Model small_model() {
  Model model;
  model.symbols = {{"T", {4096, ""}}, {"L", {512, "length"}}};
  model.metadata = {{"recipe", "a \"quoted\" name\n"}, {"task", "sts"}};
  model.assets = {{"tokenizer.json", counting(kU8, {30})}};
  const Body body = shifted();
  model.bodies[body.key()] = body;
  Graph& main = model.graphs["main"];
  main.name = "main";
  const ValueId x = main.add_input({"x", kI8, {"T", 8}, Fact{{-100, 20}, "input"}, {}, {}});
  const ValueId length = main.add_input({"length", DataType::kI32, {"B"}, {}, {}, {}});
  const ValueId bias = main.add_constant("encoder/bias", counting(kI8, {8}));
  Value result{"y", kI8, {"T", 8}, {}, {}, {}};
  result.encoding = Encoding{};
  result.encoding->granularity = {{1}, 4};
  result.encoding->scale = {0.1, 1.0 / 3, 2, 1e-30};
  result.encoding->zero_point = {0, -3, 5, 7};
  const ValueId y = main.add_value(result);
  Node node;
  node.op = "shifted";
  node.name = "encoder/layer.0";
  node.body = body.key();
  node.inputs = {x, bias};
  node.outputs = {y};
  node.attributes = {{"epilogue", "bias"},
                     {"whole", 2.0},
                     {"count", int64_t{2}},
                     {"no_integers", std::vector<int64_t>{}},
                     {"no_reals", std::vector<double>{}},
                     {"large", std::vector<int64_t>{INT64_MIN, INT64_MAX}},
                     {"reals", std::vector<double>{0.1, 5}}};
  main.add_node(node);
  main.outputs = {y, length};
  model.symbols["B"] = {32, ""};
  return model;
}

// The tensors of a model by their names in a file.
std::function<Tensor(const std::string&)> tensors_of(const Model& model) {
  auto tensors = std::make_shared<std::map<std::string, Tensor>>();
  for (const auto& [key, graph] : model.graphs)
    for (const Value& value : graph.values)
      if (value.is_constant()) (*tensors)[constant_name(key, value)] = value.constant;
  for (const auto& [key, body] : model.bodies)
    for (const Value& value : body.graph.values)
      if (value.is_constant()) (*tensors)[constant_name(key, value)] = value.constant;
  for (const auto& [name, tensor] : model.assets) (*tensors)[asset_name(name)] = tensor;
  return [tensors](const std::string& name) {
    const auto it = tensors->find(name);
    if (it == tensors->end()) fail(ErrorKind::kMalformed, "no tensor ", name);
    return it->second;
  };
}

Model reread(const Model& model) { return model_from_json(model_to_json(model), "test", tensors_of(model)); }

TEST(Model, KeyIsNameVersionAndHashOfTheText) {
  const Body body = shifted(3);
  EXPECT_EQ(body.key(), "shifted@3:" + hex64(hash64(to_text(body.graph))));
  EXPECT_NE(shifted(1).key(), shifted(2).key());
}

TEST(Model, MaximaOfSymbols) {
  EXPECT_EQ(maxima({{"T", {7, ""}}, {"L", {5, "length"}}}), (Bindings{{"L", 5}, {"T", 7}}));
}

TEST(Model, JsonHoldsEverythingButTensors) {
  const Model model = small_model();
  const Model read = reread(model);
  EXPECT_EQ(read.symbols, model.symbols);
  EXPECT_EQ(read.metadata, model.metadata);
  EXPECT_EQ(read.assets, model.assets);
  ASSERT_EQ(read.bodies.size(), 1u);
  EXPECT_EQ(to_text(read.bodies.begin()->second.graph), to_text(model.bodies.begin()->second.graph));
  ASSERT_EQ(read.graphs.size(), 1u);
  const Graph &a = model.main(), &b = read.main();
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) {
    EXPECT_EQ(a.values[i].name, b.values[i].name);
    EXPECT_EQ(a.values[i].type, b.values[i].type);
    EXPECT_EQ(a.values[i].shape, b.values[i].shape);
    EXPECT_EQ(a.values[i].fact, b.values[i].fact);
    EXPECT_EQ(a.values[i].encoding, b.values[i].encoding);
    EXPECT_EQ(a.values[i].constant.defined(), b.values[i].constant.defined());
  }
  EXPECT_EQ(a.values[2].constant, b.values[2].constant);
  ASSERT_EQ(b.nodes.size(), 1u);
  EXPECT_EQ(a.nodes[0].op, b.nodes[0].op);
  EXPECT_EQ(a.nodes[0].name, b.nodes[0].name);
  EXPECT_EQ(a.nodes[0].body, b.nodes[0].body);
  EXPECT_EQ(a.nodes[0].inputs, b.nodes[0].inputs);
  EXPECT_EQ(a.nodes[0].outputs, b.nodes[0].outputs);
  EXPECT_EQ(a.nodes[0].attributes, b.nodes[0].attributes);
}

TEST(Model, JsonIsDeterministic) {
  EXPECT_EQ(model_to_json(small_model()), model_to_json(small_model()));
  EXPECT_EQ(model_to_json(reread(small_model())), model_to_json(small_model()));
}

TEST(Model, WhatJsonCannotHoldIsRefused) {
  Model model = small_model();
  model.main().nodes[0].attributes["ratio"] = std::numeric_limits<double>::infinity();
  EXPECT_THROW(model_to_json(model), Error);
  model = small_model();
  model.main().value(3).encoding->scale[1] = std::nan("");
  EXPECT_THROW(model_to_json(model), Error);
  model = small_model();
  model.metadata["recipe"] = "not UTF-8: \xff";
  EXPECT_THROW(model_to_json(model), Error);
}

// The message with which the JSON of small_model is refused after `edit`.
std::string refusal(const std::function<void(Json&)>& edit) {
  const Model model = small_model();
  Json json = Json::parse(model_to_json(model));
  edit(json);
  try {
    model_from_json(json.dump(), "graph.json", tensors_of(model));
  } catch (const Error& error) {
    EXPECT_TRUE(error.kind() == ErrorKind::kMalformed || error.kind() == ErrorKind::kContract);
    return error.what();
  }
  ADD_FAILURE() << "accepted " << json.dump();
  return "";
}

TEST(Model, BadJsonNamesFileAndKey) {
  const auto in = [](const char* pointer, const Json& value) {
    return refusal([&](Json& json) { json[Json::json_pointer(pointer)] = value; });
  };
  const auto without = [](const char* parent, const char* key) {
    return refusal([&](Json& json) { json[Json::json_pointer(parent)].erase(key); });
  };
  EXPECT_THAT(in("/format", "onnx"), HasSubstr("graph.json: key 'format'"));
  EXPECT_THAT(in("/schema", 2), HasSubstr("graph.json: key 'schema' is 2"));
  EXPECT_THAT(in("/metadata/task", 1), HasSubstr("graph.json: metadata: key 'task'"));
  EXPECT_THAT(in("/symbols/T/maximum", 0), HasSubstr("graph.json: symbols: T: key 'maximum' is 0"));
  EXPECT_THAT(in("/symbols/L/largest_of", "nothing"), HasSubstr("symbol L: 'nothing'"));
  EXPECT_THAT(without("/symbols", "T"), HasSubstr("symbol T is not declared"));
  EXPECT_THAT(in("/bodies/0/key", "shifted@1:0000000000000000"), HasSubstr("shifted@1:0000000000000000"));
  EXPECT_THAT(in("/bodies/0/version", 0), HasSubstr("bodies[0]: key 'version' is 0"));
  EXPECT_THAT(in("/bodies/0/text", "body shifted {"), HasSubstr("graph.json: bodies[0]: text:1:15"));
  EXPECT_THAT(in("/bodies/0/text", "body shifted {}"), HasSubstr("does not follow from its text"));
  EXPECT_THAT(in("/bodies", Json::object()), HasSubstr("key 'bodies' must be a list"));
  EXPECT_THAT(in("/bodies", Json::array()), HasSubstr("is not in the model"));
  EXPECT_THAT(in("/graphs", Json::object()), HasSubstr("graphs: key 'main' is missing"));
  EXPECT_THAT(in("/graphs/main/values/1/name", "x"), HasSubstr("graphs: main: values[1]: key 'name' is 'x'"));
  EXPECT_THAT(in("/graphs/main/values/0/type", "i9"), HasSubstr("values[0]: key 'type' is 'i9'"));
  EXPECT_THAT(in("/graphs/main/values/0/shape", {"T", -1}), HasSubstr("values[0]: key 'shape'"));
  EXPECT_THAT(in("/graphs/main/values/0/shape", {"T", "8+"}), HasSubstr("values[0]: key 'shape' is wrong"));
  EXPECT_THAT(in("/graphs/main/values/0/shape", {"T", 9}), HasSubstr("x"));
  EXPECT_THAT(in("/graphs/main/values/0/fact/range", {3, 1}), HasSubstr("values[0]: fact: key 'range'"));
  EXPECT_THAT(in("/graphs/main/values/2/type", "u8"), HasSubstr("values[2]: key 'constant' is i8[8] in the file"));
  EXPECT_THAT(in("/graphs/main/values/2/name", "other"), HasSubstr("no tensor main/other"));
  EXPECT_THAT(in("/graphs/main/values/3/encoding/scale", {"a"}), HasSubstr("encoding: key 'scale' must hold numbers"));
  EXPECT_THAT(in("/graphs/main/values/3/encoding/bits", 65), HasSubstr("encoding: key 'bits' is 65"));
  EXPECT_THAT(in("/graphs/main/values/3/encoding/axes", {1000}), HasSubstr("encoding: key 'axes'"));
  EXPECT_THAT(in("/graphs/main/nodes/0/inputs", {"x", "nothing"}), HasSubstr("nodes[0]: key 'inputs' names 'nothing'"));
  EXPECT_THAT(in("/graphs/main/nodes/0/inputs", {"x", 3}), HasSubstr("nodes[0]: key 'inputs' must hold names"));
  EXPECT_THAT(in("/graphs/main/nodes/0/attributes/count", 2), HasSubstr("attributes: count: expected a JSON object"));
  EXPECT_THAT(in("/graphs/main/nodes/0/attributes/count", {{"integer", 2}}), HasSubstr("attributes: count: the kind"));
  EXPECT_THAT(in("/graphs/main/nodes/0/attributes/count", {{"int", 2}, {"real", 2}}), HasSubstr("exactly one kind"));
  EXPECT_THAT(in("/graphs/main/nodes/0/attributes/count", {{"int", 2.5}}), HasSubstr("count: key 'int'"));
  EXPECT_THAT(in("/graphs/main/nodes/0/attributes/large", {{"ints", {1u << 31, UINT64_MAX}}}), HasSubstr("'ints'"));
  EXPECT_THAT(in("/graphs/main/outputs", {"x", nullptr}), HasSubstr("main: key 'outputs'"));
  EXPECT_THAT(in("/assets", {"missing"}), HasSubstr("no tensor assets/missing"));
  EXPECT_THAT(without("/graphs/main", "nodes"), HasSubstr("graphs: main: key 'nodes' is missing"));
}

TEST(Model, BrokenBytesNeverCrash) {
  Random random(test::seed());
  const Model model = small_model();
  const std::string good = model_to_json(model);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
      const size_t at = random.below(text.size());
      if (random.below(2))
        text[at] = static_cast<char>(text[at] ^ (1 << random.below(7)));
      else
        text.erase(at, 1 + random.below(5));
    }
    try {
      model_from_json(text, "fuzz", tensors_of(model));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace dyadic
