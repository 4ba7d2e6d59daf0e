#include "real/executor.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/status.h"
#include "base/threads.h"
#include "real/dialect.h"
#include "real/island.h"

namespace dyadic {
namespace {

using Buffer = std::shared_ptr<AlignedBuffer>;

// Whoever links the float executor can run float islands.
const bool kRunsIslands = (set_island_factory(make_real_island), true);

// Buffers of dead values, for the next ones. There are never more than were alive at once: a value for which all are
// too small replaces the largest.
class SpareBuffers {
 public:
  Buffer take(size_t bytes) {
    if (const auto fit = spare_.lower_bound(bytes); fit != spare_.end()) return spare_.extract(fit).mapped();
    if (!spare_.empty()) spare_.erase(std::prev(spare_.end()));
    return std::make_shared<AlignedBuffer>(bytes);
  }
  void give(Buffer buffer) { spare_.emplace(buffer->size(), std::move(buffer)); }

 private:
  std::multimap<size_t, Buffer> spare_;
};

}  // namespace

struct RealExecutor::State {
  Graph graph;
  std::unique_ptr<ThreadPool> own;
  ThreadPool& pool;
  bool in_order;
  std::vector<void (*)(const RealCall&)> runs;  // by node
  std::vector<Tensor> prepared;                 // by node
  std::vector<std::vector<ValueId>> dead;       // by node: values not needed behind it
  SpareBuffers spare;

  State(Graph g, std::unique_ptr<ThreadPool> threads)
      : graph(std::move(g)), own(std::move(threads)), pool(*own), in_order(false) {}
  State(Graph g, ThreadPool& shared) : graph(std::move(g)), pool(shared), in_order(true) {}
};

RealExecutor::RealExecutor(const Graph& graph, int threads)
    : RealExecutor(std::make_unique<State>(graph, std::make_unique<ThreadPool>(threads))) {}
RealExecutor::RealExecutor(const Graph& graph, ThreadPool& pool) : RealExecutor(std::make_unique<State>(graph, pool)) {}

RealExecutor::RealExecutor(std::unique_ptr<State> state) : state_(std::move(state)) {
  State& s = *state_;
  verify_real(s.graph);
  std::vector<size_t> last_use(s.graph.values.size());
  for (size_t n = 0; n < s.graph.nodes.size(); ++n) {
    const Node& node = s.graph.nodes[n];
    std::vector<const Value*> inputs;
    for (ValueId id : node.inputs) inputs.push_back(id < 0 ? nullptr : &s.graph.value(id));
    const RealOp& op = real_op(node);
    s.runs.push_back(s.in_order && op.run_in_order ? op.run_in_order : op.run);
    s.prepared.push_back(op.prepare ? op.prepare(node, inputs) : Tensor());
    last_use[node.outputs[0]] = n;
    for (ValueId id : node.inputs)
      if (id >= 0) last_use[id] = n;
  }
  s.dead.resize(s.graph.nodes.size());
  for (const Node& node : s.graph.nodes)
    if (const ValueId id = node.outputs[0]; !s.graph.is_output(id)) s.dead[last_use[id]].push_back(id);
}

RealExecutor::~RealExecutor() = default;

std::map<std::string, Tensor> RealExecutor::run(const std::map<std::string, Tensor>& feeds,
                                                const std::function<void(ValueId, const Tensor&)>& observer) {
  State& s = *state_;
  const Graph& graph = s.graph;
  std::vector<Tensor> tensors(graph.values.size());
  std::vector<Buffer> buffers(graph.values.size());
  Bindings bindings;
  for (size_t i = 0; i < graph.values.size(); ++i) tensors[i] = graph.values[i].constant;
  for (ValueId id : graph.inputs) {
    const Value& input = graph.value(id);
    const auto feed = feeds.find(input.name);
    if (feed == feeds.end()) fail(ErrorKind::kContract, "graph ", graph.name, ": input '", input.name, "' is not fed");
    if (feed->second.type() != input.type)
      fail(ErrorKind::kContract, "input '", input.name, "' is ", name(feed->second.type()), ", expected ",
           name(input.type));
    unify(input.shape, feed->second.dims(), bindings, cat("input '", input.name, "'"));
    tensors[id] = feed->second;
  }
  for (const auto& feed : feeds)
    if (std::ranges::none_of(graph.inputs, [&](ValueId id) { return graph.value(id).name == feed.first; }))
      fail(ErrorKind::kContract, "graph ", graph.name, " has no input '", feed.first, "'");

  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const ValueId id = node.outputs[0];
    const Dims dims = dyadic::bind(graph.value(id).shape, bindings);
    buffers[id] = s.spare.take(static_cast<size_t>(storage_bytes(DataType::kF32, element_count(dims))));
    tensors[id] = Tensor(DataType::kF32, dims, buffers[id]->data(), buffers[id]);
    std::vector<Tensor> inputs;
    for (ValueId input : node.inputs) inputs.push_back(input < 0 ? Tensor() : tensors[input]);
    s.runs[n]({node, inputs, s.prepared[n], {DataType::kF32, dims, buffers[id]->data()}, s.pool});
    if (observer) observer(id, tensors[id]);
    inputs.clear();
    for (ValueId gone : s.dead[n]) {
      tensors[gone] = Tensor();
      if (Buffer buffer = std::move(buffers[gone]); buffer.use_count() == 1) s.spare.give(std::move(buffer));
    }
  }
  std::map<std::string, Tensor> results;
  for (ValueId id : graph.outputs) results[graph.value(id).name] = tensors[id];
  return results;
}

}  // namespace dyadic
