// What the tests of bodies share: operands by name.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"

namespace dyadic::test {

using Ints = std::vector<int64_t>;
using Inputs = std::map<std::string, Tensor>;

inline Tensor tensor(DataType type, Dims dims, const Ints& values) {
  Tensor t(type, std::move(dims));
  DYADIC_CHECK(t.count() == static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    DYADIC_CHECK(range_of(type).contains({values[i], values[i]}), values[i]);
    t.set(static_cast<int64_t>(i), values[i]);
  }
  return t;
}

// Evaluates a body on operands found by the names of its inputs; records every named value that `seen` already has as a
// key.
inline std::vector<Tensor> run(const Body& body, const Inputs& inputs, Bindings bindings = {}, Inputs* seen = nullptr) {
  std::vector<Tensor> operands;
  for (ValueId id : body.graph.inputs) operands.push_back(inputs.at(body.graph.value(id).name));
  return evaluate(body.graph, operands, std::move(bindings), [&](ValueId id, const Tensor& t) {
    const auto& name = body.graph.value(id).name;
    if (seen && seen->count(name)) (*seen)[name] = t;
  });
}

// requantize, then the class table if there is one.
inline std::vector<EpilogueStage> epilogue(DataType out, bool table) {
  std::vector<EpilogueStage> stages = {
      {StageKind::kBias, DataType::kI32},
      {StageKind::kRequantize, out, out == DataType::kI8 ? Interval{-127, 127} : range_of(out)}};
  if (table) stages.push_back({StageKind::kTable, DataType::kI8});
  return stages;
}

}  // namespace dyadic::test
