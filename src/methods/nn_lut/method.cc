#include <cmath>
#include <numeric>

#include "base/status.h"
#include "graph/evaluator.h"
#include "methods/nn_lut/piecewise_linear.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

int entries(const Part& part) {
  const int64_t count = part.integer("entries", 16);
  if (count < 4 || count > 64) fail(ErrorKind::kMalformed, "nn-lut: entries must be 4..64, not ", count);
  return static_cast<int>(count);
}

// Every 8-bit code through the body.
std::vector<int8_t> table(const Part& part, const UnaryRequest& request) {
  const auto fitted = nn_lut::fit(request.function, nn_lut::shapes().at(request.node->op), entries(part));
  const Interval range{-128 - request.in_zero, 127 - request.in_zero};
  const Body body = nn_lut::table_body(nn_lut::integers(fitted, request.in_scale, range), range,
                                       std::ldexp(request.in_scale / request.out_scale, -nn_lut::kSlopeBits),
                                       request.out_zero, request.out_codes);
  std::vector<int32_t> x(256);
  std::iota(x.begin(), x.end(), static_cast<int32_t>(range.lo));
  const Tensor input = Tensor::from<int32_t>({256}, x);
  const std::vector<int64_t> y = evaluate(body.graph, {&input, 1})[0].to_int64();
  return {y.begin(), y.end()};
}

}  // namespace

void register_nn_lut(Registry& registry) {
  std::set<std::string> ops;
  for (const auto& [op, shape] : nn_lut::shapes()) ops.insert(op);
  registry.add(UnaryPart{{"nn-lut",
                          "a piecewise-linear function from a table of slopes and intercepts, fitted directly",
                          "NN-LUT, Yu et al. 2022, arXiv:2112.02191",
                          {{"entries", "lines of the function, 4..64, default 16"}},
                          [](const Part& part) { entries(part); }},
                         std::move(ops),
                         table});
}

}  // namespace dyadic
