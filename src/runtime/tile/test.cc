#include <gtest/gtest.h>

#include "graph/text.h"
#include "random_body.h"
#include "runtime/tile/tile_program.h"
#include "support.h"

namespace dyadic {
namespace {

using test::Example;
using test::Spread;

// The tile program of an example equals the evaluator in every bit, on each instruction set, with 1 and 2 threads, with
// parameters bound and as operands.
void expect_equal(const Example& example, const Ranges& ranges, const char* tightness) {
  const std::vector<Tensor> expected = evaluate(example.body, example.inputs, example.bindings);
  for (const Isa isa : kAllIsas) {
    if (isa > detected_isa()) continue;
    for (const bool bound : {true, false}) {
      const auto parameters = bound ? example.parameters() : std::vector<Tensor>{};
      const TileProgram program(example.body, ranges, parameters, isa);
      for (const int threads : {1, 2}) {
        ThreadPool pool(threads);
        const auto actual = program.run(bound ? example.data() : example.inputs, example.bindings, pool);
        ASSERT_EQ(actual.size(), expected.size());
        for (size_t i = 0; i < expected.size(); ++i)
          for (int64_t e = 0; e < expected[i].count(); ++e)
            ASSERT_EQ(actual[i].at(e), expected[i].at(e))
                << example.name << ", output " << example.body.value(example.body.outputs[i]).name << ", element " << e
                << ", " << isa_name(isa) << ", " << threads << " threads, " << tightness << " ranges, "
                << (bound ? "bound\n" : "unbound\n") << program.describe();
      }
    }
  }
}

// With ranges as wide as the types, as proven, and as narrow as what these operands give.
void expect_equal(const Example& example) {
  expect_equal(example, test::type_ranges(example.body), "type");
  expect_equal(example, test::observed_ranges(example.body, example.inputs, example.bindings), "observed");
}

void expect_equal_as_proven(const Example& example) {
  expect_equal(example);
  Bindings maxima = example.bindings;
  for (size_t i = 0; i < example.inputs.size(); ++i)
    unify(example.body.value(example.body.inputs[i]).shape, example.inputs[i].dims(), maxima, "input");
  for (auto& [symbol, value] : maxima) value = std::max<int64_t>(value, 1);
  expect_equal(example, prove_ranges(example.body, example.known(), maxima), "proven");
}

TEST(TileProgram, Linear) {
  Random random(test::seed(), 1);
  for (const Spread spread : test::kSpreads)
    for (const auto& [T, K, N, classes] : std::vector<std::array<int64_t, 4>>{{1, 3, 2, 0},
                                                                              {5, 16, 7, 0},
                                                                              {70, 8, 70, 3},
                                                                              {3, 20, 1100, 2},
                                                                              {2, 5, 130, 1},
                                                                              {150, 4, 1100, 3},
                                                                              {0, 4, 4, 0}})
      expect_equal_as_proven(test::linear_example(T, K, N, classes, spread, random));
}

TEST(TileProgram, AddNorm) {
  Random random(test::seed(), 2);
  for (const Spread spread : test::kSpreads)
    for (const auto& [T, n] : std::vector<std::array<int64_t, 2>>{{1, 1}, {7, 5}, {3, 384}, {2, 1500}})
      for (const auto& example : {test::add_norm_example, test::q15_add_norm_example})
        expect_equal_as_proven(example(T, n, spread, random));
}

TEST(TileProgram, EmbedNorm) {
  Random random(test::seed(), 3);
  for (const Spread spread : test::kSpreads)
    for (const auto& [T, n] : std::vector<std::array<int64_t, 2>>{{1, 1}, {9, 33}, {4, 384}})
      expect_equal_as_proven(test::embed_norm_example(T, n, spread, random));
}

TEST(TileProgram, Attention) {
  Random random(test::seed(), 4);
  for (const Spread spread : test::kSpreads) {
    expect_equal_as_proven(test::attention_example({1}, 1, 1, 2, spread, random));
    expect_equal_as_proven(test::attention_example({3, 0, 7}, 7, 2, 4, spread, random));
    expect_equal_as_proven(test::attention_example({20, 33}, 40, 3, 8, spread, random));
    if (spread == Spread::kUniform)
      expect_equal_as_proven(test::attention_example({60, 33, 1, 64, 20}, 64, 4, 8, spread, random));
  }
}

TEST(TileProgram, Pool) {
  Random random(test::seed(), 5);
  for (const Spread spread : test::kSpreads)
    for (const bool normalize : {false, true}) {
      expect_equal_as_proven(test::pool_example({1}, 1, 1, normalize, spread, random));
      expect_equal_as_proven(test::pool_example({3, 0, 7}, 9, 20, normalize, spread, random));
    }
}

TEST(TileProgram, RandomBodies) {
  Random random(test::seed(), 6);
  test::RandomBody bodies(random);
  for (int i = 0; i < 200; ++i) {
    const Example example = bodies.make(1 + i % 25);
    SCOPED_TRACE(cat("body ", i, '\n', to_text(example.body)));
    expect_equal(example);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace dyadic
