#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/buffer.h"
#include "base/status.h"
#include "base/threads.h"
#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "graph/island.h"
#include "graph/memory_plan.h"
#include "graph/ranges.h"
#include "kernels/kernel.h"
#include "runtime/tile/tile_program.h"

namespace dyadic {
namespace {

// One composite, ready to run.
struct Step {
  const Node* node = nullptr;
  const Body* body = nullptr;
  std::vector<ValueId> inputs, outputs;  // of the main graph; inputs without parameters
  std::vector<Tensor> operands;          // evaluator: one a body input, parameters filled in
  const KernelRow* row = nullptr;
  std::unique_ptr<Kernel> kernel;
  std::optional<TileProgram> tile;
  std::unique_ptr<IslandExecutor> island;
  std::string why;  // no kernel: the reasons
  int64_t nanoseconds = 0;
};

// Where every computed Value lies for shapes up to a capacity.
struct Plan {
  std::map<ValueId, int64_t> offsets;
  int64_t arena_bytes = 0;
  size_t scratch_bytes = 0;  // for one kernel worker
  size_t tile_bytes = 0;
};

// Capacities grow by a quarter to a half, so that few Plans serve all shapes.
int64_t bucket(int64_t n) {
  int64_t step = 1;
  while (step * 8 < n) step *= 2;
  return (n + step - 1) / step * step;
}

int64_t now_ns() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

KernelSpec kernel_spec(const Model& model, const Node& node, const Ranges& ranges) {
  const Body& body = model.body(node);
  KernelSpec spec;
  spec.composite = node.op;
  spec.version = body.version;
  for (const auto& [key, attribute] : node.attributes)
    if (const auto* integer = std::get_if<int64_t>(&attribute)) spec.integers[key] = *integer;
  if (node.has("epilogue")) spec.epilogue = parse_epilogue(node.text("epilogue"));
  const auto operand = [&](ValueId id) {
    const Value& value = body.graph.value(id);
    KernelOperand o{value.name, value.type, {}, {}, ranges.values[id]};
    for (const Dim& dim : value.shape) o.dims.push_back(dim.is_constant() ? dim.factor : -1);
    return o;
  };
  for (size_t i = 0; i < body.graph.inputs.size(); ++i) {
    spec.inputs.push_back(operand(body.graph.inputs[i]));
    spec.inputs.back().constant = model.main().value(node.inputs[i]).constant;
  }
  for (ValueId id : body.graph.outputs) spec.outputs.push_back(operand(id));
  return spec;
}

struct Session::State {
  std::shared_ptr<const Model> model;
  SessionOptions options;
  ThreadPool pool;
  std::shared_ptr<const std::vector<Ranges>> proof;
  std::vector<Step> steps;
  std::map<ValueId, Interval> promised;            // of main inputs: what every consumer's body may rely on
  std::vector<std::pair<ValueId, ValueId>> spans;  // (start, length) inputs that must not overlap
  std::map<Bindings, Plan> plans;
  AlignedBuffer arena, tile_scratch;
  std::vector<AlignedBuffer> worker_scratch;
  std::vector<std::byte*> worker_pointers;
  bool profiling = false;
  mutable std::mutex mutex;  // of all that a run changes: plans, arena, scratch, times

  State(std::shared_ptr<const Model> m, SessionOptions o)
      : model(std::move(m)),
        options(std::move(o)),
        pool(options.threads),
        worker_scratch(options.threads),
        worker_pointers(options.threads) {
    if (options.isa > detected_isa())
      fail(ErrorKind::kContract, "this CPU has no ", isa_name(options.isa), " (it has ", isa_name(detected_isa()), ")");
    proof = options.proof ? options.proof : std::make_shared<const std::vector<Ranges>>(prove_model(*model));
    const Graph& main = model->main();
    for (size_t n = 0; n < main.nodes.size(); ++n) prepare(main.nodes[n], proof->at(n));
  }

  void prepare(const Node& node, const Ranges& proved) {
    Step step;
    step.node = &node;
    step.body = &model->body(node);
    const Graph& body = step.body->graph;
    ValueId start = -1, length = -1;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value& value = model->main().value(node.inputs[i]);
      step.operands.push_back(value.constant);
      if (value.is_constant()) continue;
      step.inputs.push_back(node.inputs[i]);
      const Value& formal = body.value(body.inputs[i]);
      if (formal.name == "start") start = node.inputs[i];
      if (formal.name == "length") length = node.inputs[i];
      // The proof's range of a body input may be narrower than its type: it is what callers must keep to.
      if (model->main().producer(node.inputs[i]) < 0 && !is_real(value.type)) {
        const Interval range = proved.values[body.inputs[i]];
        auto [it, fresh] = promised.try_emplace(node.inputs[i], range);
        if (!fresh) it->second = {std::max(it->second.lo, range.lo), std::min(it->second.hi, range.hi)};
      }
    }
    if (start >= 0 && length >= 0) spans.emplace_back(start, length);
    step.outputs = node.outputs;
    if (is_island(body)) {  // the same executor, whatever the backend
      step.island = make_island(body, step.operands, pool);
    } else if (options.backend == Backend::kKernels) {
      if (options.make_kernel) {
        step.kernel = options.make_kernel(node, *step.body, proved, step.operands);
      } else if (is_shared_body(node, *step.body)) {
        const KernelSpec spec = kernel_spec(*model, node, proved);
        step.row = select_kernel(spec, options.isa, &step.why);
        if (step.row) step.kernel = step.row->make(spec);
      } else {
        step.why = "its body is not a shared one";
      }
    }
    if (options.backend != Backend::kEvaluator && !step.island && !step.kernel)
      step.tile.emplace(body, proved, step.operands, options.isa);
    steps.push_back(std::move(step));
  }

  Bindings bind_symbols(const std::map<std::string, Tensor>& feeds) const {
    const Graph& main = model->main();
    Bindings bindings;
    for (const auto& [name, tensor] : feeds) {
      const ValueId id = main.find(name);
      if (std::count(main.inputs.begin(), main.inputs.end(), id) == 0)
        fail(ErrorKind::kContract, "the model has no input '", name, "'");
    }
    for (ValueId id : main.inputs) {
      const Value& value = main.value(id);
      const auto feed = feeds.find(value.name);
      if (feed == feeds.end()) fail(ErrorKind::kContract, "input '", value.name, "' is missing");
      if (feed->second.type() != value.type)
        fail(ErrorKind::kContract, "input '", value.name, "' must be ", name(value.type), ", not ",
             name(feed->second.type()));
      unify(value.shape, feed->second.dims(), bindings, "input '" + value.name + "'");
    }
    for (const auto& [name, symbol] : model->symbols) {
      if (!symbol.largest_of.empty()) {
        const Tensor& source = feeds.at(symbol.largest_of);
        int64_t largest = 1;
        for (int64_t i = 0; i < source.count(); ++i) largest = std::max(largest, source.at(i));
        bindings[name] = largest;
      }
      const auto bound = bindings.find(name);
      if (bound == bindings.end()) fail(ErrorKind::kContract, "no input gives symbol ", name, " a value");
      if (bound->second > symbol.maximum)
        fail(ErrorKind::kContract, name, " is ", bound->second, ", above the ", symbol.maximum,
             " for which this model is proved");
    }
    for (const auto& [id, range] : promised) {
      const Value& value = main.value(id);
      const Tensor& feed = feeds.at(value.name);
      for (int64_t i = 0; i < feed.count(); ++i)
        if (const int64_t v = feed.at(i); v < range.lo || v > range.hi)
          fail(ErrorKind::kContract, "input '", value.name, "'[", i, "] is ", v, ", outside ", range.lo, "..",
               range.hi);
    }
    for (const auto& [start, length] : spans)
      check_spans(feeds.at(main.value(start).name), feeds.at(main.value(length).name), bindings);
    return bindings;
  }

  // Sequences lie inside the tokens and do not overlap.
  static void check_spans(const Tensor& start, const Tensor& length, const Bindings& bindings) {
    const auto tokens = bindings.find("T");
    std::vector<std::pair<int64_t, int64_t>> spans;
    for (int64_t i = 0; i < start.count(); ++i) {
      if (length.at(i) == 0) continue;
      spans.emplace_back(start.at(i), start.at(i) + length.at(i));
      if (spans.back().first < 0 || (tokens != bindings.end() && spans.back().second > tokens->second))
        fail(ErrorKind::kContract, "sequence ", i, " (", start.at(i), "+", length.at(i), ") leaves the ",
             tokens->second, " tokens");
    }
    std::sort(spans.begin(), spans.end());
    for (size_t i = 1; i < spans.size(); ++i)
      if (spans[i].first < spans[i - 1].second)
        fail(ErrorKind::kContract, "sequences overlap at token ", spans[i].first);
  }

  const Plan& plan_for(const Bindings& bindings) {
    Bindings capacity;
    for (const auto& [name, value] : bindings)
      capacity[name] = std::min(bucket(value), model->symbols.at(name).maximum);
    const auto known = plans.find(capacity);
    if (known != plans.end()) return known->second;

    const Graph& main = model->main();
    std::vector<ValueId> ids;
    std::vector<Lifetime> lifetimes;
    for (size_t n = 0; n < steps.size(); ++n)
      for (ValueId id : steps[n].outputs) {
        int last = static_cast<int>(n);
        for (size_t later = n; later < steps.size(); ++later)
          if (std::count(steps[later].inputs.begin(), steps[later].inputs.end(), id)) last = static_cast<int>(later);
        if (main.is_output(id)) last = static_cast<int>(steps.size());
        ids.push_back(id);
        lifetimes.push_back(
            {storage_bytes(main.value(id).type, element_count(dyadic::bind(main.value(id).shape, capacity))) + 64,
             static_cast<int>(n), last});
      }
    const MemoryPlan memory = plan_memory(lifetimes);
    Plan plan;
    plan.arena_bytes = memory.arena_bytes;
    for (size_t i = 0; i < ids.size(); ++i) plan.offsets[ids[i]] = memory.offsets[i];
    for (const Step& step : steps) {
      std::vector<Dims> dims;
      for (ValueId id : step.inputs) dims.push_back(dyadic::bind(main.value(id).shape, capacity));
      const auto length = capacity.find("L");
      if (step.kernel)
        plan.scratch_bytes = std::max(plan.scratch_bytes,
                                      step.kernel->scratch_bytes(dims, length == capacity.end() ? 0 : length->second));
      if (step.tile) plan.tile_bytes = std::max(plan.tile_bytes, step.tile->scratch_bytes(capacity, pool.threads()));
    }
    if (arena.size() < static_cast<size_t>(plan.arena_bytes)) arena = AlignedBuffer(plan.arena_bytes);
    if (tile_scratch.size() < plan.tile_bytes) tile_scratch = AlignedBuffer(plan.tile_bytes);
    for (size_t w = 0; w < worker_scratch.size(); ++w)
      if (worker_scratch[w].size() < plan.scratch_bytes) {
        worker_scratch[w] = AlignedBuffer(plan.scratch_bytes);
        worker_pointers[w] = worker_scratch[w].data();
      }
    return plans.emplace(std::move(capacity), std::move(plan)).first->second;
  }

  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& feeds, const Tap& tap) {
    const Bindings bindings = bind_symbols(feeds);
    return options.backend == Backend::kEvaluator ? run_evaluator(feeds, bindings, tap)
                                                  : run_planned(feeds, bindings, tap);
  }

  std::map<std::string, Tensor> run_evaluator(const std::map<std::string, Tensor>& feeds, const Bindings& bindings,
                                              const Tap& tap) {
    const Graph& main = model->main();
    std::map<ValueId, Tensor> values;
    for (ValueId id : main.inputs) values[id] = feeds.at(main.value(id).name);
    Bindings unbound;
    for (const auto& [name, symbol] : model->symbols)
      if (!symbol.largest_of.empty()) unbound[name] = bindings.at(name);
    for (Step& step : steps) {
      const int64_t begin = profiling ? now_ns() : 0;
      std::vector<Tensor> operands = step.operands;
      for (size_t i = 0; i < operands.size(); ++i)
        if (!operands[i].defined()) operands[i] = values.at(step.node->inputs[i]);
      std::vector<Tensor> results =
          step.island ? run_island(step, values, bindings) : evaluate(step.body->graph, operands, unbound);
      for (size_t i = 0; i < results.size(); ++i) {
        if (tap) tap(*step.node, i, {results[i].type(), results[i].dims(), const_cast<std::byte*>(results[i].raw())});
        values[step.outputs[i]] = std::move(results[i]);
      }
      if (profiling) step.nanoseconds = now_ns() - begin;
    }
    std::map<std::string, Tensor> outputs;
    for (ValueId id : main.outputs) outputs[main.value(id).name] = values.at(id);
    return outputs;
  }

  std::vector<Tensor> run_island(const Step& step, const std::map<ValueId, Tensor>& values,
                                 const Bindings& bindings) const {
    const auto view = [](const Tensor& t) -> TensorView {
      return {t.type(), t.dims(), const_cast<std::byte*>(t.raw())};
    };
    std::vector<TensorView> inputs, outputs;
    std::vector<Tensor> results;
    for (ValueId id : step.inputs) inputs.push_back(view(values.at(id)));
    for (ValueId id : step.outputs) {
      const Value& value = model->main().value(id);
      outputs.push_back(view(results.emplace_back(value.type, dyadic::bind(value.shape, bindings))));
    }
    step.island->run(inputs, outputs);
    return results;
  }

  std::map<std::string, Tensor> run_planned(const std::map<std::string, Tensor>& feeds, const Bindings& bindings,
                                            const Tap& tap) {
    const Graph& main = model->main();
    const Plan& plan = plan_for(bindings);
    const auto view = [&](ValueId id) -> TensorView {
      const Value& value = main.value(id);
      const auto at = plan.offsets.find(id);
      if (at == plan.offsets.end()) {
        const Tensor& feed = feeds.at(value.name);
        return {feed.type(), feed.dims(), const_cast<std::byte*>(feed.raw())};
      }
      return {value.type, dyadic::bind(value.shape, bindings), arena.data() + at->second};
    };
    for (Step& step : steps) {
      const int64_t begin = profiling ? now_ns() : 0;
      std::vector<TensorView> inputs, outputs;
      for (ValueId id : step.inputs) inputs.push_back(view(id));
      for (ValueId id : step.outputs) outputs.push_back(view(id));
      if (step.kernel) {
        step.kernel->run(inputs, outputs, {&pool, worker_pointers});
      } else if (step.island) {
        step.island->run(inputs, outputs);
      } else {
        step.tile->run(inputs, outputs, bindings, pool, {tile_scratch.data(), tile_scratch.size()});
      }
      if (profiling) step.nanoseconds = now_ns() - begin;
      if (tap)
        for (size_t i = 0; i < outputs.size(); ++i) tap(*step.node, i, outputs[i]);
    }
    std::map<std::string, Tensor> results;
    for (ValueId id : main.outputs) {
      const TensorView source = view(id);
      Tensor copy(source.type, source.dims);
      std::memcpy(copy.mutable_raw(), source.data, static_cast<size_t>(copy.bytes()));
      results[main.value(id).name] = std::move(copy);
    }
    return results;
  }
};

Session::Session(std::shared_ptr<const Model> model, SessionOptions options)
    : state_(std::make_unique<State>(std::move(model), std::move(options))) {}
Session::~Session() = default;

std::map<std::string, Tensor> Session::run(const std::map<std::string, Tensor>& feeds, const Tap& tap) {
  const std::lock_guard lock(state_->mutex);
  return state_->run(feeds, tap);
}
const Model& Session::model() const { return *state_->model; }
const SessionOptions& Session::options() const { return state_->options; }
void Session::set_profiling(bool on) {
  const std::lock_guard lock(state_->mutex);
  state_->profiling = on;
}
int64_t Session::arena_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int64_t>(state_->arena.size());
}

namespace {

std::string executor_name(const Step& step) {
  if (step.row) return step.row->name;
  if (step.kernel) return "given kernel";
  if (step.island) return "float island";
  return step.tile ? "tile program" : "evaluator";
}

}  // namespace

std::string Session::explain() const {
  std::string text;
  for (const Step& step : state_->steps) {
    text += cat(step.node->name, ": ", executor_name(step));
    if (step.kernel && !step.kernel->describe().empty()) text += " (" + step.kernel->describe() + ")";
    if (!step.why.empty() && !step.kernel) text += " (no kernel: " + step.why + ")";
    text += '\n';
  }
  return text;
}

std::vector<StepTime> Session::times() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<StepTime> times;
  for (const Step& step : state_->steps)
    times.push_back({step.node->name, step.node->op, executor_name(step), step.nanoseconds});
  return times;
}

}  // namespace dyadic
