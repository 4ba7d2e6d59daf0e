#include "runtime/prepared.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "base/status.h"
#include "base/threads.h"
#include "graph/bodies/bodies.h"
#include "graph/island.h"

namespace dyadic {

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

namespace {

// Of those that may name a body: real numbers only describe.
bool is_same_attribute(const std::pair<const std::string, Attribute>& a,
                       const std::pair<const std::string, Attribute>& b) {
  const auto holds_same = [&]<class T>(const T*) {
    const T *x = std::get_if<T>(&a.second), *y = std::get_if<T>(&b.second);
    return x && y && *x == *y;
  };
  const bool is_real =
      std::holds_alternative<double>(a.second) || std::holds_alternative<std::vector<double>>(a.second);
  return a.first == b.first && a.second.index() == b.second.index() &&
         (is_real || holds_same(static_cast<const int64_t*>(nullptr)) ||
          holds_same(static_cast<const std::string*>(nullptr)) ||
          holds_same(static_cast<const std::vector<int64_t>*>(nullptr)));
}

}  // namespace

// Proves a model and makes kernels while its composites are prepared in order. One thread proves and then takes kernels
// off a queue as the others do from the start; so does the caller, whenever the proof that it wants next is not there
// yet, and at the end. Where the caller may use one processor only, it does it all, composite by composite:
// the weights that a proof read are then in the caches when a kernel packs them.
class Preparation {
 public:
  // `proof`: given already, or made here.
  Preparation(const Model& model, std::shared_ptr<const std::vector<Ranges>> proof, int threads)
      : model_(model), given_(std::move(proof)) {
    proofs_.reserve(model.main().nodes.size());
    const int nodes = static_cast<int>(model.main().nodes.size());
    const int count = usable_processors() == 1 ? 0 : std::max(1, std::min(threads - 1, nodes - 1));
    threads_.reserve(static_cast<size_t>(count));
    try {
      for (int i = 0; i < count; ++i)
        threads_.emplace_back([this, proves = i == 0] {
          if (proves) prove();
          make_all();
        });
    } catch (const std::exception&) {  // no thread to be had, or no memory for it: fewer do
    }
  }
  ~Preparation() {
    close();
    drop_queue();
    for (std::thread& thread : threads_) thread.join();
  }
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  // Calls each(n, proof) for node after node and waits for all kernels; throws the first error of proving, of `each` or
  // of making.
  void run(FunctionRef<void(size_t, const Ranges&)> each) {
    const size_t nodes = model_.main().nodes.size();
    if (given_ || !threads_.empty()) {
      for (size_t n = 0; n < nodes; ++n) each(n, proof(n));
    } else {
      size_t n = 0;
      prove_model(model_, [&](const Ranges& proof) {
        each(n++, proof);
        make_queued();
      });
    }
    finish();
  }
  // step.kernel will be what step.row makes of spec. The step must stay where it is.
  void make(Step& step, KernelSpec spec) {
    const std::lock_guard lock(mutex_);
    queue_.push_back({&step, std::move(spec)});
    changed_.notify_all();
  }

 private:
  struct Making {
    Step* step;
    KernelSpec spec;
  };

  const Ranges& proof(size_t n) {
    if (given_) return given_->at(n);
    std::unique_lock lock(mutex_);
    while (!error_ && made_ <= n)
      if (!make_one(lock)) changed_.wait(lock);
    if (error_) std::rethrow_exception(error_);
    return proofs_[n];
  }
  void finish() {
    close();
    make_all();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return busy_ == 0 || error_; });
    if (error_) std::rethrow_exception(error_);
  }
  void make_queued() {
    std::unique_lock lock(mutex_);
    while (make_one(lock)) {
    }
    if (error_) std::rethrow_exception(error_);
  }
  void prove() {
    if (given_) return;
    try {
      prove_model(model_, [this](Ranges proof) {
        proof.channels.clear();  // megabytes of what nobody here asks for
        const std::lock_guard lock(mutex_);
        proofs_.push_back(std::move(proof));
        made_ = proofs_.size();
        changed_.notify_all();
      });
    } catch (...) {
      fail_with(std::current_exception());
    }
  }
  void fail_with(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    queue_.clear();
    changed_.notify_all();
  }
  void drop_queue() {
    const std::lock_guard lock(mutex_);
    queue_.clear();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  void make_all() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (make_one(lock)) continue;
      if (closed_ || error_) return;
      changed_.wait(lock);
    }
  }
  // False if no kernel waits to be made. Unlocks while it makes one.
  bool make_one(std::unique_lock<std::mutex>& lock) {
    if (queue_.empty()) return false;
    Making next = std::move(queue_.front());
    queue_.pop_front();
    ++busy_;
    lock.unlock();
    try {
      next.step->kernel = next.step->row->make(next.spec);
    } catch (...) {
      fail_with(std::current_exception());
    }
    lock.lock();
    --busy_;
    changed_.notify_all();
    return true;
  }

  const Model& model_;
  const std::shared_ptr<const std::vector<Ranges>> given_;
  std::mutex mutex_;
  std::condition_variable changed_;  // anything below
  std::vector<Ranges> proofs_;       // never moves: elements are read while others are added
  size_t made_ = 0;                  // proofs
  std::deque<Making> queue_;
  int busy_ = 0;  // threads that make a kernel
  bool closed_ = false;
  std::exception_ptr error_;  // the first
  std::vector<std::thread> threads_;
};

std::string Step::executor() const {
  if (row) return row->name;
  if (kernel) return "given kernel";
  if (is_island) return "float island";
  return tile ? "tile program" : "evaluator";
}

Prepared::Prepared(std::shared_ptr<const Model> m, const SessionOptions& options) : model(std::move(m)) {
  if (options.isa > detected_isa())
    fail(ErrorKind::kContract, "this CPU has no ", isa_name(options.isa), " (it has ", isa_name(detected_isa()), ")");
  const Graph& main = model->main();
  steps.reserve(main.nodes.size());
  Preparation preparation(*model, options.proof, options.threads);
  preparation.run([&](size_t n, const Ranges& proof) { prepare(main.nodes[n], proof, options, preparation); });
  find_separation();
}

void Prepared::prepare(const Node& node, const Ranges& proved, const SessionOptions& options,
                       Preparation& preparation) {
  Step step;
  step.node = &node;
  step.body = &model->body(node);
  const Graph& body = step.body->graph;
  Spans of{-1, -1};
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value& value = model->main().value(node.inputs[i]);
    step.operands.push_back(value.constant);
    if (value.is_constant()) continue;
    step.inputs.push_back(node.inputs[i]);
    const Value& formal = body.value(body.inputs[i]);
    if (formal.name == "start") of.start = node.inputs[i];
    if (formal.name == "length") of.length = node.inputs[i];
    // The proof's range of a body input may be narrower than its type: it is what callers must keep to.
    if (model->main().producer(node.inputs[i]) < 0 && !is_real(value.type)) {
      const Interval range = proved.values[body.inputs[i]];
      auto [it, fresh] = promised.try_emplace(node.inputs[i], range);
      if (!fresh) it->second = {std::max(it->second.lo, range.lo), std::min(it->second.hi, range.hi)};
    }
  }
  if (of.start >= 0 && of.length >= 0 && std::find(spans.begin(), spans.end(), of) == spans.end()) spans.push_back(of);
  step.outputs = node.outputs;
  step.is_island = is_island(body);
  // Layers repeat: what was found of a body need not be found again.
  const auto alike = std::find_if(steps.begin(), steps.end(), [&](const Step& earlier) {
    return earlier.body == step.body && earlier.node->op == node.op &&
           std::equal(node.attributes.begin(), node.attributes.end(), earlier.node->attributes.begin(),
                      earlier.node->attributes.end(), is_same_attribute);
  });
  step.is_shared = alike != steps.end() ? alike->is_shared : !step.is_island && is_shared_body(node, *step.body);
  std::optional<KernelSpec> spec;
  if (!step.is_island && options.backend == Backend::kKernels) {
    if (options.make_kernel) {
      step.kernel = options.make_kernel(node, *step.body, proved, step.operands);
    } else if (step.is_shared) {
      spec = kernel_spec(*model, node, proved);
      step.row = select_kernel(*spec, options.isa, &step.why);
    } else {
      step.why = "its body is not a shared one";
    }
  }
  if (options.backend != Backend::kEvaluator && !step.is_island && !step.row && !step.kernel)
    step.tile.emplace(body, proved, step.operands, options.isa);
  steps.push_back(std::move(step));
  if (steps.back().row) preparation.make(steps.back(), std::move(*spec));
}

void Prepared::find_separation() {
  const Graph& main = model->main();
  if (spans.size() != 1) return;
  const auto leading = [&](ValueId id) -> std::string {  // the symbol that alone counts a Value's rows
    const Shape& shape = main.value(id).shape;
    const bool fixed =
        std::all_of(shape.begin() + !shape.empty(), shape.end(), [](const Dim& d) { return d.is_constant(); });
    return !shape.empty() && fixed && shape[0].factor == 1 && shape[0].symbols.size() == 1 ? shape[0].symbols[0] : "";
  };
  sequences = leading(spans[0].start);
  for (ValueId id : main.inputs)
    if (leading(id) != sequences) tokens = leading(id);
  if (sequences.empty() || tokens.empty() || leading(spans[0].length) != sequences) return;
  std::vector<ValueId> ids = main.inputs;
  for (const Step& step : steps) {
    if (!step.is_island && !step.is_shared) return;
    ids.insert(ids.end(), step.outputs.begin(), step.outputs.end());
  }
  is_separable = std::all_of(ids.begin(), ids.end(), [&](ValueId id) {
    const std::string rows = leading(id);
    return (rows == tokens || rows == sequences) && !is_packed(main.value(id).type);
  });
  const auto counts_tokens = [&](ValueId id) { return leading(id) == tokens; };
  for (Step& step : steps)
    step.is_rowwise = is_separable && std::all_of(step.inputs.begin(), step.inputs.end(), counts_tokens) &&
                      std::all_of(step.outputs.begin(), step.outputs.end(), counts_tokens);
}

}  // namespace dyadic
