#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"
#include "graph/evaluator.h"
#include "methods/ibert/bodies.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

constexpr const char* kSource = "I-BERT, Kim et al. 2021, arXiv:2101.01321";
const std::pair<const std::string, std::string> kFormParameter = {
    "form", "\"refined\" (default): rounded constants, shifts from the scale; \"paper\": as published"};

ibert::Form form_of(const Part& part) {
  const std::string form = part.text("form", "refined");
  if (form != "refined" && form != "paper")
    fail(ErrorKind::kMalformed, part.name, ": form must be \"refined\" or \"paper\", not \"", form, "\"");
  return form == "paper" ? ibert::Form::kPaper : ibert::Form::kRefined;
}

// Every 8-bit code through the integer body.
std::vector<int8_t> gelu_table(const Part& part, const UnaryRequest& request) {
  Encoding in, out;
  in.codes = {-127, 127};
  in.scale = {request.in_scale};
  in.zero_point = {request.in_zero};
  out.codes = request.out_codes;
  out.scale = {request.out_scale};
  out.zero_point = {request.out_zero};
  std::vector<int8_t> codes(255);
  std::iota(codes.begin(), codes.end(), int8_t{-127});
  const Tensor x = Tensor::from<int8_t>({255}, codes);
  const Tensor y = evaluate(ibert::i_gelu_body(in, out, form_of(part)).graph, {&x, 1})[0];
  std::vector<int8_t> table(y.data<int8_t>(), y.data<int8_t>() + 255);
  table.insert(table.begin(), table.front());  // code -128 does not occur
  return table;
}

int64_t within(const Part& part, const std::string& key, int64_t fallback, Interval range) {
  const int64_t value = part.integer(key, fallback);
  if (!range.contains({value, value}))
    fail(ErrorKind::kMalformed, part.name, ": ", key, " must be ", range.lo, "..", range.hi, ", not ", value);
  return value;
}
double steps_per_unit(const Part& part) { return static_cast<double>(within(part, "steps", 16, {1, 64})); }
// The reciprocal 2^32 / sum of a row's weights, which is at least this, has to fit 32 bits.
int64_t one(const Part& part) { return within(part, "one", 255, {3, 255}); }

// Every distance code through the integer body.
std::vector<uint8_t> exp_table(const Part& part) {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  const Tensor d = Tensor::from<uint8_t>({256}, codes);
  const Body body = ibert::i_exp_body(1 / steps_per_unit(part), one(part), form_of(part));
  const Tensor e = evaluate(body.graph, {&d, 1})[0];
  return {e.data<uint8_t>(), e.data<uint8_t>() + 256};
}

}  // namespace

void register_ibert(Registry& registry) {
  registry.add(UnaryPart{{"i-gelu",
                          "the second-order polynomial i-GELU for each of the 256 input codes",
                          kSource,
                          {kFormParameter},
                          [](const Part& part) { form_of(part); }},
                         {"Gelu"},
                         gelu_table});
  registry.add(
      SoftmaxPart{{"i-exp",
                   "the second-order polynomial i-exp for each of the 256 distance codes; normalisation deferred",
                   kSource,
                   {{"steps", "distance codes per unit, 1..64, default 16"},
                    {"one", "the code of exp(0), 3..255, default 255"},
                    kFormParameter},
                   [](const Part& part) { exp_table(part); }},
                  steps_per_unit,
                  exp_table});
  registry.add(NormPart{
      {"i-layer-norm",
       "layer norm by an integer square root; beta with 8 extra fraction bits",
       kSource,
       {kFormParameter},
       [](const Part& part) { form_of(part); }},
      [](const Part& part) { return form_of(part) == ibert::Form::kPaper ? NormCore(ibert::paper_norm) : NormCore(); },
      [](const Part& part, int64_t n) {
        const int fraction = form_of(part) == ibert::Form::kPaper ? 30 : 20;
        return std::ldexp(std::sqrt(static_cast<double>(n)), -fraction);
      }});
}

}  // namespace dyadic
