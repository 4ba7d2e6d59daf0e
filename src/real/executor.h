// Runs a graph of the real dialect in f32: the reference that calibration observes and integer models are compared
// with.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/threads.h"
#include "graph/graph.h"

namespace dyadic {

class RealExecutor {
 public:
  // Verifies the graph and rearranges its constants. The graph is copied; its constants are shared. `threads` >= 1
  // counts the caller; a given number of threads gives the same bits in every run.
  RealExecutor(const Graph& graph, int threads);
  // As a float island runs (graph/island.h): every operator in its stated order, on a pool that the caller keeps.
  RealExecutor(const Graph& graph, ThreadPool& pool);
  ~RealExecutor();

  // Feeds and results go by the names of the graph's inputs and outputs. kContract if a feed is missing, unknown or of
  // the wrong type or shape. `observer` sees each value that a node defines, in order; a Tensor it keeps stays intact.
  // One caller at a time.
  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& feeds,
                                    const std::function<void(ValueId, const Tensor&)>& observer = {});

 private:
  struct State;
  explicit RealExecutor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dyadic
