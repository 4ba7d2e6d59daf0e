// Printed C against the evaluator, compiled by the C compilers of this machine.
#include <gtest/gtest.h>

#include "api/compiled_c.h"
#include "graph/text.h"
#include "random_body.h"
#include "support.h"

namespace dyadic {
namespace {

using test::Example;
using test::Spread;

constexpr char kFlags[] = "-std=c99 -O2 -Wall -Wextra -Werror -pedantic";

class PrintedC : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!has_compiler(GetParam())) GTEST_SKIP() << "SKIPPED: no C compiler named " << GetParam();
  }

  // Printed, compiled without a warning and run, the body equals the evaluator in every bit on each example's operands.
  void expect_equal(const Ranges& ranges, const std::vector<Example>& examples) {
    const Graph& body = examples[0].body;
    const CFunction function = print_c(body, ranges, "printed_body");
    const CompiledC compiled(body, function, GetParam(), kFlags);
    for (const Example& example : examples) {
      const std::vector<Tensor> expected = evaluate(body, example.inputs, example.bindings);
      const auto actual = compiled.run(example.inputs, example.bindings);
      for (size_t i = 0; i < expected.size(); ++i)
        for (int64_t e = 0; e < expected[i].count(); ++e)
          ASSERT_EQ(actual[i].at(e), expected[i].at(e))
              << example.name << ", output " << body.value(body.outputs[i]).name << ", element " << e << '\n'
              << function.code;
    }
  }
  // The same code on operands of every spread, and code for ranges as narrow as those of one example.
  template <class Make>
  void expect_equal(const Make& make) {
    std::vector<Example> examples;
    for (const Spread spread : test::kSpreads) examples.push_back(make(spread));
    expect_equal(test::type_ranges(examples[0].body), examples);
    const Example& e = examples[0];
    expect_equal(test::observed_ranges(e.body, e.inputs, e.bindings), {e});
  }
};

TEST_P(PrintedC, Bodies) {
  Random random(test::seed(), 11);
  expect_equal([&](Spread s) { return test::linear_example(5, 16, 70, 3, s, random); });
  expect_equal([&](Spread s) { return test::linear_example(1, 3, 2, 0, s, random); });
  expect_equal([&](Spread s) { return test::add_norm_example(3, 96, s, random); });
  expect_equal([&](Spread s) { return test::q15_add_norm_example(3, 96, s, random); });
  expect_equal([&](Spread s) { return test::embed_norm_example(4, 33, s, random); });
  expect_equal([&](Spread s) { return test::attention_example({3, 0, 7}, 7, 2, 4, s, random); });
  expect_equal([&](Spread s) { return test::pool_example({3, 0, 7}, 9, 20, true, s, random); });
}

TEST_P(PrintedC, RandomBodies) {
  Random random(test::seed(), 12);
  test::RandomBody bodies(random);
  for (int i = 0; i < 12; ++i) {
    const Example e = bodies.make(10 + 2 * i);
    SCOPED_TRACE(to_text(e.body));
    expect_equal(test::type_ranges(e.body), {e});
    expect_equal(test::observed_ranges(e.body, e.inputs, e.bindings), {e});
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Compilers, PrintedC, testing::Values("gcc", "clang"));

}  // namespace
}  // namespace dyadic
