#include "graph/island.h"

#include <algorithm>
#include <atomic>

#include "base/status.h"
#include "graph/core_ops.h"

namespace dyadic {
namespace {

std::atomic<IslandFactory>& factory_slot() {
  static std::atomic<IslandFactory> slot = nullptr;
  return slot;
}

}  // namespace

bool is_island(const Graph& body) { return body.name == "island"; }

std::vector<std::string> float_islands(const Model& model) {
  std::vector<std::string> islands;
  for (const auto& [key, graph] : model.graphs)
    for (const Node& node : graph.nodes) {
      if (node.body.empty() && !find_core_op(node.op)) islands.push_back(cat(node.name, " (", node.op, ")"));
      const auto body = model.bodies.find(node.body);
      if (body == model.bodies.end() || !is_island(body->second.graph)) continue;
      std::vector<std::string> ops;
      for (const Node& inner : body->second.graph.nodes)
        if (!find_core_op(inner.op) && std::find(ops.begin(), ops.end(), inner.op) == ops.end())
          ops.push_back(inner.op);
      std::string text = node.name + " (";
      for (size_t i = 0; i < ops.size(); ++i) text += (i ? ", " : "") + ops[i];
      islands.push_back(text + ")");
    }
  return islands;
}

IslandFactory set_island_factory(IslandFactory factory) { return factory_slot().exchange(factory); }

std::unique_ptr<IslandExecutor> make_island(const Graph& body, std::span<const Tensor> parameters, ThreadPool& pool) {
  const IslandFactory factory = factory_slot().load();
  if (!factory)
    fail(ErrorKind::kContract,
         "missing island executor: the model has float islands, and this program runs integers only; link the whole "
         "library (libdyadic) or quantize with a recipe that keeps no node in float");
  return factory(body, parameters, pool);
}

}  // namespace dyadic
