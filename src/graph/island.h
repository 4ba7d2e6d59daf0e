// Float islands: the parts of a model that are computed in floating point, because a recipe asks for it. The body of a
// composite `island` holds dequantize of its coded inputs, operators of the real dialect, and quantize of its outputs.
// It has no exact definition in integers: it is evaluated in the stated order of its operators, without contraction,
// and lies within the bound that the composite declares. libdyadic_runtime knows islands but cannot run them: whoever
// can run the real dialect registers itself here.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "graph/graph.h"
#include "graph/model.h"
#include "tensor/tensor.h"

namespace dyadic {

// Whether a body is that of a float island: its name is "island".
bool is_island(const Graph& body);

// The islands of a model, in order, and the real operators of each: "encoder/layer.0/attention/self (Attention)".
std::vector<std::string> float_islands(const Model& model);

// One island, ready to run: its parameters are rearranged once. One caller at a time.
class IslandExecutor {
 public:
  virtual ~IslandExecutor() = default;
  // `inputs` are the body's inputs without parameters, `outputs` its outputs, in order; every code of `outputs` is
  // written. A row (or a sequence, where the operators see them) gives the same codes whatever else is in the batch
  // and whatever the number of threads. kContract naming node and element if an index leaves its table or a result is
  // not a number.
  virtual void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs) = 0;
};

// `parameters` holds one tensor for every input of the body, defined where that input is a parameter. The executor
// keeps `pool`. kContract naming the node if the body is no graph of the real dialect.
using IslandFactory = std::unique_ptr<IslandExecutor> (*)(const Graph& body, std::span<const Tensor> parameters,
                                                          ThreadPool& pool);

// Who makes islands from now on (nullptr: nobody); returns who did until now.
IslandFactory set_island_factory(IslandFactory factory);

// kContract if nobody is registered: a program that links libdyadic_runtime alone.
std::unique_ptr<IslandExecutor> make_island(const Graph& body, std::span<const Tensor> parameters, ThreadPool& pool);

}  // namespace dyadic
