#include "graph/verifier.h"

#include "base/status.h"
#include "graph/bodies/bodies.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr DataType kI8 = DataType::kI8, kI16 = DataType::kI16, kI32 = DataType::kI32, kF32 = DataType::kF32;

ValueId add(Graph& g, const std::string& name, DataType type, Shape shape) {
  Value v;
  v.name = name;
  v.type = type;
  v.shape = std::move(shape);
  return g.add_value(std::move(v));
}

// Mean pooling of x, and its embeddings as real numbers.
Model valid() {
  Model m;
  const Body pool = pool_body(4, false);
  m.bodies[pool.key()] = pool;
  m.symbols = {{"T", {64, ""}}, {"B", {8, ""}}, {"L", {16, "length"}}};
  Graph& g = m.graphs["main"];
  g.name = "main";
  for (const auto& [name, type, shape] :
       {std::tuple<const char*, DataType, Shape>{"x", kI16, {"T", 4}}, {"start", kI32, {"B"}}, {"length", kI32, {"B"}}})
    g.inputs.push_back(add(g, name, type, shape));
  const ValueId codes = add(g, "codes", kI16, {"B", 4}), embedding = add(g, "embedding", kF32, {"B", 4});
  g.add_node({"pool", "pooling", g.inputs, {codes}, {}, pool.key()});
  g.add_node({"dequantize", "edge", {codes}, {embedding}, {{"scale", 0.5}}, ""});
  g.outputs = {embedding};
  return m;
}

TEST(VerifyModel, AcceptsACompositeAndAnEdge) {
  EXPECT_NO_THROW(verify_model(valid()));
  EXPECT_TRUE(is_integer_only(valid()));
}

TEST(VerifyModel, NamesWhatIsWrong) {
  const auto refused = [](const char* why, const std::function<void(Model&, Graph&)>& spoil) {
    Model m = valid();
    spoil(m, m.main());
    EXPECT_THAT([&] { verify_model(m); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  refused("no graph 'main'", [](Model& m, Graph&) { m.graphs.clear(); });
  refused("the key of body pool@1:0 does not follow from its text", [](Model& m, Graph&) {
    auto body = m.bodies.extract(m.bodies.begin());
    body.key() = "pool@1:0";
    m.bodies.insert(std::move(body));
  });
  refused("is not in the model", [](Model&, Graph& g) { g.nodes[0].body = "pool@1:0"; });
  refused("has 2 inputs, its body 3", [](Model&, Graph& g) { g.nodes[0].inputs.pop_back(); });
  refused("node 0 (pool) 'pooling' of value codes: inputs 0 (x) is i16[T,5], its body's x is i16[T,4]",
          [](Model&, Graph& g) {
            g.value(0).shape = {"T", 5};
          });
  refused("inputs 0 (x) is i8[T,4]", [](Model&, Graph& g) { g.value(0).type = kI8; });
  refused("inputs 2 (length) is i32[T], its body's length is i32[B]",
          [](Model&, Graph& g) { g.value(2).shape = {"T"}; });
  refused("outputs 0 (codes) is i16[T,4]", [](Model&, Graph& g) { g.value(3).shape = {"T", 4}; });
  refused("symbol T is not declared", [](Model& m, Graph&) { m.symbols.erase("T"); });
  refused("no input of its body binds symbol L", [](Model& m, Graph&) { m.symbols.erase("L"); });
  refused("'lengths' is not an input", [](Model& m, Graph&) { m.symbols["L"].largest_of = "lengths"; });
  refused("has the maximum 0", [](Model& m, Graph&) { m.symbols["B"].maximum = 0; });
  refused("used before its definition", [](Model&, Graph& g) { std::swap(g.nodes[0], g.nodes[1]); });
  refused("is declared f32[4] and is f32[B,4]", [](Model&, Graph& g) { g.value(4).shape = {4}; });
}

TEST(VerifyModel, BindsABodysSymbolsToStaticDimensions) {
  Model m = valid();
  m.symbols.erase("B");
  for (int i : {1, 2}) m.main().value(i).shape = {3};
  for (int i : {3, 4}) m.main().value(i).shape = {3, 4};
  EXPECT_NO_THROW(verify_model(m));
  m.main().value(2).shape = {2};
  EXPECT_THAT([&] { verify_model(m); }, ThrowsMessage<Error>(HasSubstr("inputs 2 (length)")));
}

TEST(IsIntegerOnly, NamesIslands) {
  Model m = valid();
  Graph& g = m.main();
  const ValueId y = add(g, "y", kF32, {"B", 4});
  g.add_node({"Relu", "head", {4}, {y}, {}, ""});
  g.outputs = {y};
  EXPECT_NO_THROW(verify_model(m));
  std::string why;
  EXPECT_FALSE(is_integer_only(m, &why));
  EXPECT_THAT(why, HasSubstr("1 float island: head (Relu)"));
}

}  // namespace
}  // namespace dyadic
