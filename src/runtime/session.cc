#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/buffer.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/threads.h"
#include "graph/evaluator.h"
#include "graph/island.h"
#include "graph/memory_plan.h"
#include "runtime/prepared.h"

namespace dyadic {
namespace {

// Rows of a block: activations of a layer then stay in the second-level cache while its weights pass. From 128 to 512
// the time of MiniLM is the same within a hundredth.
constexpr int64_t kBlockRows = 256;
// Rows that a thread needs to have work of its own; below, threads share the columns of each product. A tile of AMX
// multiplies sixteen in the time of eight.
int64_t rows_of_thread(Isa isa) { return isa == Isa::kAmx ? 16 : 8; }

// Where every computed Value lies for shapes up to a capacity.
struct Plan {
  std::vector<int64_t> offsets;  // by ValueId; -1 if it lies elsewhere
  size_t arena_bytes = 0;
  size_t scratch_bytes = 0;  // for one kernel worker
  size_t tile_bytes = 0;
};

// Whole sequences, one after the other, with the rows of their tokens.
struct Block {
  int64_t first_sequence, sequences, first_token, tokens;
};

// Capacities grow by a quarter to a half, so that few Plans serve all shapes.
int64_t bucket(int64_t n) {
  int64_t step = 1;
  while (step * 8 < n) step *= 2;
  return (n + step - 1) / step * step;
}

int64_t now_ns() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

TensorView view_of(const Tensor& tensor) {
  return {tensor.type(), tensor.dims(), const_cast<std::byte*>(tensor.raw())};
}

void grow(AlignedBuffer& buffer, size_t bytes) {
  if (buffer.size() < bytes) buffer = AlignedBuffer(bytes);
}

// What one thread runs a batch or a block with. Everything grows and nothing shrinks, so that shapes seen before
// allocate nothing.
struct Frame {
  Bindings bindings;
  bool splits_rows = false;                              // run_rows() runs what is row by row
  std::vector<int64_t> capacity;                         // of the Plan: one a symbol, and splits_rows
  std::vector<TensorView> feeds;                         // one a main input: of the block
  std::vector<int32_t> start;                            // counted from the block's first token
  std::vector<std::vector<TensorView>> inputs, outputs;  // one a step
  TensorView result;
  AlignedBuffer arena, tile_scratch;
  std::vector<int64_t> nanoseconds;  // one a step
};

// The threads that a block is run with: all of the Session's, or one alone.
struct Team {
  ThreadPool* pool;
  std::span<std::byte* const> scratch;
};

}  // namespace

struct Session::State {
  std::shared_ptr<const Prepared> prepared;
  const Model& model;
  SessionOptions options;
  ThreadPool pool, alone{1};
  std::vector<std::unique_ptr<IslandExecutor>> islands;  // one a step
  std::vector<int> feed_of;                              // by ValueId: which main input it is, or -1
  Bindings sizes;                                        // of the whole batch
  std::map<std::vector<int64_t>, Plan> plans;
  std::vector<Frame> frames;  // one a thread
  std::vector<AlignedBuffer> worker_scratch;
  std::vector<std::byte*> worker_pointers;
  std::vector<std::vector<Block>> shares;  // of the batch, one a thread
  std::vector<std::pair<int64_t, int64_t>> sorted_spans;
  bool profiling = false;
  mutable std::mutex mutex;  // of all that a run changes

  State(std::shared_ptr<const Prepared> p, SessionOptions o)
      : prepared(std::move(p)),
        model(*prepared->model),
        options(std::move(o)),
        pool(options.threads),
        frames(options.threads),
        worker_scratch(options.threads),
        worker_pointers(options.threads),
        shares(options.threads) {
    const Graph& main = model.main();
    feed_of.assign(main.values.size(), -1);
    for (size_t i = 0; i < main.inputs.size(); ++i) feed_of[main.inputs[i]] = static_cast<int>(i);
    for (const Step& step : prepared->steps)
      islands.push_back(step.is_island ? make_island(step.body->graph, step.operands, pool) : nullptr);
    for (const auto& [name, symbol] : model.symbols) sizes[name] = 0;
    for (Frame& frame : frames) {
      frame.bindings = sizes;
      frame.feeds.resize(main.inputs.size());
      frame.nanoseconds.resize(prepared->steps.size());
      for (const Step& step : prepared->steps) {
        frame.inputs.emplace_back(step.inputs.size());
        frame.outputs.emplace_back(step.outputs.size());
      }
    }
  }

  // ---- what a caller gives ------------------------------------------------------------------------------------------

  std::vector<TensorView> views_of(const std::map<std::string, Tensor>& feeds) const {
    const Graph& main = model.main();
    for (const auto& [name, tensor] : feeds)
      if (std::count(main.inputs.begin(), main.inputs.end(), main.find(name)) == 0)
        fail(ErrorKind::kContract, "the model has no input '", name, "'");
    std::vector<TensorView> views;
    for (ValueId id : main.inputs) {
      const auto feed = feeds.find(main.value(id).name);
      if (feed == feeds.end()) fail(ErrorKind::kContract, "input '", main.value(id).name, "' is missing");
      views.push_back(view_of(feed->second));
    }
    return views;
  }

  // Sizes of all symbols from the inputs' shapes and contents, after checking everything.
  void bind_symbols(std::span<const TensorView> feeds) {
    const Graph& main = model.main();
    for (auto& [name, size] : sizes) size = -1;
    bool matches = feeds.size() == main.inputs.size();
    for (size_t i = 0; matches && i < feeds.size(); ++i) {
      const Value& value = main.value(main.inputs[i]);
      matches = feeds[i].type == value.type && bind_shape(value.shape, feeds[i].dims);
    }
    if (!matches) explain_mismatch(feeds);
    bind_largest(feeds, sizes);
    for (const auto& [name, symbol] : model.symbols) {
      const int64_t size = sizes.find(name)->second;
      if (size < 0) fail(ErrorKind::kContract, "no input gives symbol ", name, " a value");
      if (size > symbol.maximum)
        fail(ErrorKind::kContract, name, " is ", size, ", above the ", symbol.maximum,
             " for which this model is proved");
    }
    for (const auto& [id, range] : prepared->promised) {
      const TensorView& feed = feeds[feed_of[id]];
      for (int64_t i = 0, count = feed.count(); i < count; ++i)
        if (const int64_t v = feed.at(i); v < range.lo || v > range.hi)
          fail(ErrorKind::kContract, "input '", main.value(id).name, "'[", i, "] is ", v, ", outside ", range.lo, "..",
               range.hi);
    }
    for (const Spans& spans : prepared->spans) check_spans(feeds[feed_of[spans.start]], feeds[feed_of[spans.length]]);
  }

  // Whether dims fit shape; binds symbols that stand alone. unify() without allocation.
  bool bind_shape(const Shape& shape, const Dims& dims) {
    if (shape.size() != dims.size()) return false;
    for (size_t a = 0; a < shape.size(); ++a) {
      if (shape[a].symbols.size() != 1 || shape[a].factor != 1) continue;
      int64_t& size = sizes.find(shape[a].symbols[0])->second;
      if (size < 0) size = dims[a];
    }
    for (size_t a = 0; a < shape.size(); ++a)
      if (dims[a] < 0 || shape[a].value(sizes) != dims[a]) return false;
    return true;
  }

  [[noreturn]] void explain_mismatch(std::span<const TensorView> feeds) const {
    const Graph& main = model.main();
    if (feeds.size() != main.inputs.size())
      fail(ErrorKind::kContract, "the model has ", main.inputs.size(), " inputs, not ", feeds.size());
    Bindings bindings;
    for (size_t i = 0; i < feeds.size(); ++i) {
      const Value& value = main.value(main.inputs[i]);
      if (feeds[i].type != value.type)
        fail(ErrorKind::kContract, "input '", value.name, "' must be ", name(value.type), ", not ",
             name(feeds[i].type));
      unify(value.shape, feeds[i].dims, bindings, "input '" + value.name + "'");
    }
    fail(ErrorKind::kContract, "the inputs' shapes do not fit together");
  }

  void bind_largest(std::span<const TensorView> feeds, Bindings& bindings) const {
    for (const auto& [name, symbol] : model.symbols) {
      if (symbol.largest_of.empty()) continue;
      const TensorView& source = feeds[feed_of[model.main().find(symbol.largest_of)]];
      int64_t largest = 1;
      for (int64_t i = 0, count = source.count(); i < count; ++i) largest = std::max(largest, source.at(i));
      bindings.find(name)->second = largest;
    }
  }

  // Sequences lie inside the tokens and do not overlap.
  void check_spans(const TensorView& start, const TensorView& length) {
    const auto tokens = sizes.find(prepared->is_separable ? prepared->tokens : "T");
    sorted_spans.clear();
    for (int64_t i = 0, count = start.count(); i < count; ++i) {
      if (length.at(i) == 0) continue;
      sorted_spans.emplace_back(start.at(i), start.at(i) + length.at(i));
      if (sorted_spans.back().first < 0 || (tokens != sizes.end() && sorted_spans.back().second > tokens->second))
        fail(ErrorKind::kContract, "sequence ", i, " (", start.at(i), "+", length.at(i), ") leaves the ",
             tokens->second, " tokens");
    }
    std::sort(sorted_spans.begin(), sorted_spans.end());
    for (size_t i = 1; i < sorted_spans.size(); ++i)
      if (sorted_spans[i].first < sorted_spans[i - 1].second)
        fail(ErrorKind::kContract, "sequences overlap at token ", sorted_spans[i].first);
  }

  // ---- memory -------------------------------------------------------------------------------------------------------

  const Plan& plan_for(Frame& frame) {
    frame.capacity.clear();
    for (const auto& [name, symbol] : model.symbols)
      frame.capacity.push_back(std::min(bucket(frame.bindings.find(name)->second), symbol.maximum));
    frame.capacity.push_back(frame.splits_rows);
    const auto known = plans.find(frame.capacity);
    if (known != plans.end()) return known->second;

    Bindings capacity;
    for (const auto& [name, symbol] : model.symbols) capacity[name] = frame.capacity[capacity.size()];
    return plans.emplace(frame.capacity, make_plan(capacity, frame.splits_rows)).first->second;
  }

  // Steps that run_rows() runs together: threads are at different ones of them at a time, so that none may write where
  // another one reads.
  bool is_split(size_t n) const {
    return n < prepared->steps.size() && prepared->steps[n].is_rowwise && prepared->steps[n].kernel;
  }
  int first_of_split(size_t n) const {
    while (is_split(n) && n > 0 && is_split(n - 1)) --n;
    return static_cast<int>(n);
  }
  int last_of_split(size_t n) const {
    while (is_split(n) && is_split(n + 1)) ++n;
    return static_cast<int>(n);
  }

  Plan make_plan(const Bindings& capacity, bool splits_rows) {
    const Graph& main = model.main();
    const std::vector<Step>& steps = prepared->steps;
    std::vector<ValueId> ids;
    std::vector<Lifetime> lifetimes;
    for (size_t n = 0; n < steps.size(); ++n)
      for (ValueId id : steps[n].outputs) {
        size_t last = n;
        for (size_t later = n; later < steps.size(); ++later)
          if (std::count(steps[later].inputs.begin(), steps[later].inputs.end(), id)) last = later;
        if (main.is_output(id)) last = steps.size();
        ids.push_back(id);
        lifetimes.push_back(
            {storage_bytes(main.value(id).type, element_count(dyadic::bind(main.value(id).shape, capacity))) + 64,
             splits_rows ? first_of_split(n) : static_cast<int>(n),
             splits_rows ? last_of_split(last) : static_cast<int>(last)});
      }
    const MemoryPlan memory = plan_memory(lifetimes);
    Plan plan;
    plan.arena_bytes = static_cast<size_t>(memory.arena_bytes);
    plan.offsets.assign(main.values.size(), -1);
    for (size_t i = 0; i < ids.size(); ++i) plan.offsets[ids[i]] = memory.offsets[i];
    const auto length = capacity.find("L");
    for (const Step& step : steps) {
      std::vector<Dims> dims;
      for (ValueId id : step.inputs) dims.push_back(dyadic::bind(main.value(id).shape, capacity));
      if (step.kernel)
        plan.scratch_bytes = std::max(plan.scratch_bytes,
                                      step.kernel->scratch_bytes(dims, length == capacity.end() ? 0 : length->second));
      if (step.tile) plan.tile_bytes = std::max(plan.tile_bytes, step.tile->scratch_bytes(capacity, pool.threads()));
    }
    return plan;
  }

  // Binds a frame to a block, or to the whole batch, and gives it a Plan with its memory.
  const Plan& enter(Frame& frame, std::span<const TensorView> feeds, const Block* block, bool is_alone) {
    for (auto& [name, size] : frame.bindings) size = sizes.find(name)->second;
    for (size_t i = 0; i < feeds.size(); ++i) {
      frame.feeds[i].type = feeds[i].type;
      frame.feeds[i].dims = feeds[i].dims;
      frame.feeds[i].data = feeds[i].data;
    }
    if (block) {
      frame.bindings.find(prepared->tokens)->second = block->tokens;
      frame.bindings.find(prepared->sequences)->second = block->sequences;
      for (size_t i = 0; i < feeds.size(); ++i) cut(frame, i, *block);
      bind_largest(frame.feeds, frame.bindings);
    }
    frame.splits_rows =
        !is_alone && pool.threads() > 1 && prepared->is_separable &&
        bucket(frame.bindings.find(prepared->tokens)->second) >= rows_of_thread(options.isa) * pool.threads();
    const Plan& plan = plan_for(frame);
    grow(frame.arena, plan.arena_bytes);
    return plan;
  }

  void cut(Frame& frame, size_t feed, const Block& block) const {
    const ValueId id = model.main().inputs[feed];
    TensorView& view = frame.feeds[feed];
    const bool counts_tokens = model.main().value(id).shape[0].symbols[0] == prepared->tokens;
    const int64_t columns = view.dims[0] == 0 ? 0 : view.count() / view.dims[0];
    view.dims[0] = counts_tokens ? block.tokens : block.sequences;
    view.data += storage_bytes(view.type, (counts_tokens ? block.first_token : block.first_sequence) * columns);
    if (id != prepared->spans[0].start || block.first_token == 0) return;
    frame.start.clear();
    for (int64_t i = 0; i < block.sequences; ++i)
      frame.start.push_back(view.as<int32_t>()[i] - static_cast<int32_t>(block.first_token));
    view.data = reinterpret_cast<std::byte*>(frame.start.data());
  }

  // ---- order --------------------------------------------------------------------------------------------------------

  // Cuts the batch into one share of blocks a thread. False if it has to run as one.
  bool cut_batch(std::span<const TensorView> feeds, int threads) {
    for (std::vector<Block>& share : shares) share.clear();
    if (!prepared->is_separable) return false;
    const TensorView &start = feeds[feed_of[prepared->spans[0].start]],
                     &length = feeds[feed_of[prepared->spans[0].length]];
    const int64_t sequences = start.count(), tokens = sizes.find(prepared->tokens)->second;
    int64_t next = 0;
    for (int64_t i = 0; i < sequences; ++i) {
      if (start.at(i) != next) return false;  // not one after the other
      const int64_t rows = length.at(i);
      // The thread whose share of the rows the middle of this sequence falls into.
      const int64_t thread =
          std::min<int64_t>((2 * next + rows) * threads / std::max<int64_t>(1, 2 * tokens), threads - 1);
      std::vector<Block>& share = shares[thread];
      if (share.empty() || share.back().tokens + rows > kBlockRows)
        share.push_back({i, 1, next, rows});
      else
        share.back() = {share.back().first_sequence, share.back().sequences + 1, share.back().first_token,
                        share.back().tokens + rows};
      next += rows;
    }
    return next == tokens && sequences > 0;
  }

  // Whether no thread has much more than an equal share.
  bool is_fair() const {
    int64_t all = 0, most = 0;
    for (const std::vector<Block>& share : shares) {
      int64_t rows = 0;
      for (const Block& block : share) rows += block.tokens;
      all += rows;
      most = std::max(most, rows);
    }
    return most * static_cast<int64_t>(shares.size()) * 8 <= all * 9;
  }

  // ---- runs ---------------------------------------------------------------------------------------------------------

  void run_planned(std::span<const TensorView> feeds, std::span<const TensorView> results, const Tap& tap) {
    if (profiling)
      for (Frame& frame : frames) std::fill(frame.nanoseconds.begin(), frame.nanoseconds.end(), 0);
    const bool has_islands =
        std::any_of(islands.begin(), islands.end(), [](const auto& island) { return island != nullptr; });
    const bool wants_shares = pool.threads() > 1 && options.schedule != Schedule::kLatency && !has_islands && !tap;
    if (wants_shares && cut_batch(feeds, pool.threads()) && (options.schedule == Schedule::kThroughput || is_fair()))
      return run_shares(feeds, results);
    if (!tap && cut_batch(feeds, 1) && shares[0].size() > 1) {
      for (const Block& block : shares[0]) {
        check_interrupted();
        enter(frames[0], feeds, &block, false);
        run_block(frames[0], results, &block, team(), tap);
      }
      return;
    }
    enter(frames[0], feeds, nullptr, tap != nullptr);
    run_block(frames[0], results, nullptr, team(), tap);
  }

  // Plans and memory for every share first: threads must not change the Session.
  void run_shares(std::span<const TensorView> feeds, std::span<const TensorView> results) {
    for (size_t w = 0; w < shares.size(); ++w)
      for (const Block& block : shares[w]) reserve(enter(frames[w], feeds, &block, true), frames[w]);
    pool.parallel_for(pool.threads(), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t w = begin; w < end; ++w)
        for (const Block& block : shares[w]) {
          check_interrupted();
          enter(frames[w], feeds, &block, true);
          run_block(frames[w], results, &block, {&alone, std::span(worker_pointers).subspan(w, 1)}, {});
        }
    });
  }

  Team team() { return {&pool, worker_pointers}; }

  void reserve(const Plan& plan, Frame& frame) {
    grow(frame.tile_scratch, plan.tile_bytes);
    for (size_t w = 0; w < worker_scratch.size(); ++w) {
      grow(worker_scratch[w], plan.scratch_bytes);
      worker_pointers[w] = worker_scratch[w].data();
    }
  }

  // A frame that has entered `block`.
  void run_block(Frame& frame, std::span<const TensorView> results, const Block* block, const Team& team,
                 const Tap& tap) {
    const Graph& main = model.main();
    const Plan& plan = plan_for(frame);
    if (team.pool == &pool) reserve(plan, frame);
    for (size_t n = 0; n < prepared->steps.size(); ++n) {
      if (frame.splits_rows && is_split(n)) {
        const size_t last = last_of_split(n);
        run_rows(frame, plan, n, last);
        n = last;
        continue;
      }
      const Step& step = prepared->steps[n];
      const int64_t begin = profiling ? now_ns() : 0;
      set_views(frame, frame, plan, n);
      std::vector<TensorView>&inputs = frame.inputs[n], &outputs = frame.outputs[n];
      if (step.kernel) {
        step.kernel->run(inputs, outputs, {team.pool, team.scratch});
      } else if (step.is_island) {
        islands[n]->run(inputs, outputs);
      } else {
        step.tile->run(inputs, outputs, frame.bindings, *team.pool,
                       {frame.tile_scratch.data(), frame.tile_scratch.size()});
      }
      if (profiling) frame.nanoseconds[n] += now_ns() - begin;
      if (tap)
        for (size_t i = 0; i < outputs.size(); ++i) tap(*step.node, i, outputs[i]);
    }
    TensorView& source = frame.result;
    for (size_t i = 0; i < results.size(); ++i) {
      set_view(frame, plan, main.outputs[i], source);
      int64_t rows_before = 0;
      if (block)
        rows_before = main.value(main.outputs[i]).shape[0].symbols[0] == prepared->tokens ? block->first_token
                                                                                          : block->first_sequence;
      const int64_t columns = rows_before == 0 ? 0 : source.count() / source.dims[0];
      std::memcpy(results[i].data + storage_bytes(source.type, rows_before * columns), source.data,
                  static_cast<size_t>(storage_bytes(source.type, source.count())));
    }
  }

  // Steps first..last, all of them row by row: each thread takes its rows through all of them, without waiting for the
  // others and with its rows in its own caches.
  void run_rows(const Frame& frame, const Plan& plan, size_t first, size_t last) {
    pool.parallel_for(frame.bindings.find(prepared->tokens)->second, 1, [&](int64_t begin, int64_t end, int worker) {
      Frame& mine = frames[worker];
      const auto cut_rows = [&](std::vector<TensorView>& views) {
        for (TensorView& view : views) {
          const int64_t columns = view.count() / view.dims[0];
          view.dims[0] = end - begin;
          view.data += storage_bytes(view.type, begin * columns);
        }
      };
      for (size_t n = first; n <= last; ++n) {
        const int64_t started = profiling ? now_ns() : 0;
        set_views(frame, mine, plan, n);
        cut_rows(mine.inputs[n]);
        cut_rows(mine.outputs[n]);
        prepared->steps[n].kernel->run(mine.inputs[n], mine.outputs[n],
                                       {&alone, std::span(worker_pointers).subspan(worker, 1)});
        if (profiling) mine.nanoseconds[n] += now_ns() - started;
      }
    });
  }

  // Where a Value of `frame`'s block lies.
  void set_view(const Frame& frame, const Plan& plan, ValueId id, TensorView& view) {
    if (feed_of[id] >= 0) {
      const TensorView& feed = frame.feeds[feed_of[id]];
      view.type = feed.type;
      view.dims = feed.dims;
      view.data = feed.data;
    } else {
      view.type = model.main().value(id).type;
      bind_into(view.dims, model.main().value(id).shape, frame.bindings);
      view.data = const_cast<std::byte*>(frame.arena.data()) + plan.offsets[id];
    }
  }
  void set_views(const Frame& frame, Frame& views, const Plan& plan, size_t n) {
    const Step& step = prepared->steps[n];
    for (size_t i = 0; i < step.inputs.size(); ++i) set_view(frame, plan, step.inputs[i], views.inputs[n][i]);
    for (size_t i = 0; i < step.outputs.size(); ++i) set_view(frame, plan, step.outputs[i], views.outputs[n][i]);
  }

  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& feeds, const Tap& tap) {
    const std::vector<TensorView> views = views_of(feeds);
    bind_symbols(views);
    if (options.backend == Backend::kEvaluator) return run_evaluator(feeds, tap);
    const Graph& main = model.main();
    std::map<std::string, Tensor> results;
    std::vector<TensorView> outputs;
    for (ValueId id : main.outputs) {
      const Value& value = main.value(id);
      Tensor& result = results[value.name] = Tensor(value.type, dyadic::bind(value.shape, sizes));
      outputs.push_back({result.type(), result.dims(), result.mutable_raw()});
    }
    run_planned(views, outputs, tap);
    return results;
  }

  void run(std::span<const TensorView> feeds, std::span<const TensorView> results) {
    bind_symbols(feeds);
    const Graph& main = model.main();
    bool fits = results.size() == main.outputs.size();
    for (size_t i = 0; fits && i < results.size(); ++i) {
      const Value& value = main.value(main.outputs[i]);
      fits = results[i].type == value.type && bind_shape(value.shape, results[i].dims);
    }
    if (!fits) fail(ErrorKind::kContract, "the outputs do not have the types and shapes that these inputs make");
    if (options.backend != Backend::kEvaluator) return run_planned(feeds, results, {});
    std::map<std::string, Tensor> tensors;
    for (size_t i = 0; i < feeds.size(); ++i) {
      Tensor& copy = tensors[main.value(main.inputs[i]).name] = Tensor(feeds[i].type, feeds[i].dims);
      std::memcpy(copy.mutable_raw(), feeds[i].data, static_cast<size_t>(copy.bytes()));
    }
    const std::map<std::string, Tensor> outputs = run_evaluator(tensors, {});
    for (size_t i = 0; i < results.size(); ++i) {
      const Tensor& output = outputs.at(main.value(main.outputs[i]).name);
      std::memcpy(results[i].data, output.raw(), static_cast<size_t>(output.bytes()));
    }
  }

  std::map<std::string, Tensor> run_evaluator(const std::map<std::string, Tensor>& feeds, const Tap& tap) {
    const Graph& main = model.main();
    std::map<ValueId, Tensor> values;
    for (ValueId id : main.inputs) values[id] = feeds.at(main.value(id).name);
    Bindings unbound;
    for (const auto& [name, symbol] : model.symbols)
      if (!symbol.largest_of.empty()) unbound[name] = sizes.at(name);
    for (size_t n = 0; n < prepared->steps.size(); ++n) {
      const Step& step = prepared->steps[n];
      const int64_t begin = profiling ? now_ns() : 0;
      std::vector<Tensor> operands = step.operands;
      for (size_t i = 0; i < operands.size(); ++i)
        if (!operands[i].defined()) operands[i] = values.at(step.node->inputs[i]);
      std::vector<Tensor> results =
          step.is_island ? run_island(n, values) : evaluate(step.body->graph, operands, unbound);
      for (size_t i = 0; i < results.size(); ++i) {
        if (tap) tap(*step.node, i, view_of(results[i]));
        values[step.outputs[i]] = std::move(results[i]);
      }
      if (profiling) frames[0].nanoseconds[n] = now_ns() - begin;
    }
    std::map<std::string, Tensor> outputs;
    for (ValueId id : main.outputs) outputs[main.value(id).name] = values.at(id);
    return outputs;
  }

  std::vector<Tensor> run_island(size_t n, const std::map<ValueId, Tensor>& values) const {
    const Step& step = prepared->steps[n];
    std::vector<TensorView> inputs, outputs;
    std::vector<Tensor> results;
    for (ValueId id : step.inputs) inputs.push_back(view_of(values.at(id)));
    for (ValueId id : step.outputs) {
      const Value& value = model.main().value(id);
      outputs.push_back(view_of(results.emplace_back(value.type, dyadic::bind(value.shape, sizes))));
    }
    islands[n]->run(inputs, outputs);
    return results;
  }
};

Session::Session(std::shared_ptr<const Model> model, SessionOptions options) {
  auto prepared = std::make_shared<const Prepared>(std::move(model), options);
  state_ = std::make_unique<State>(std::move(prepared), std::move(options));
}
Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::~Session() = default;

std::unique_ptr<Session> Session::sibling(int threads) const {
  SessionOptions options = state_->options;
  options.threads = threads;
  return std::unique_ptr<Session>(new Session(std::make_unique<State>(state_->prepared, std::move(options))));
}

std::map<std::string, Tensor> Session::run(const std::map<std::string, Tensor>& feeds, const Tap& tap) {
  const std::lock_guard lock(state_->mutex);
  return state_->run(feeds, tap);
}
void Session::run(std::span<const TensorView> inputs, std::span<const TensorView> outputs) {
  const std::lock_guard lock(state_->mutex);
  state_->run(inputs, outputs);
}
const Model& Session::model() const { return state_->model; }
const SessionOptions& Session::options() const { return state_->options; }
void Session::set_profiling(bool on) {
  const std::lock_guard lock(state_->mutex);
  state_->profiling = on;
}
int64_t Session::arena_bytes() const {
  const std::lock_guard lock(state_->mutex);
  int64_t bytes = 0;
  for (const Frame& frame : state_->frames) bytes += static_cast<int64_t>(frame.arena.size());
  return bytes;
}

std::string Session::explain() const {
  std::string text;
  for (const Step& step : state_->prepared->steps) {
    text += cat(step.node->name, ": ", step.executor());
    if (step.kernel && !step.kernel->describe().empty()) text += " (" + step.kernel->describe() + ")";
    if (!step.why.empty() && !step.kernel) text += " (no kernel: " + step.why + ")";
    text += '\n';
  }
  return text;
}

std::vector<StepTime> Session::times() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<StepTime> times;
  for (size_t n = 0; n < state_->prepared->steps.size(); ++n) {
    const Step& step = state_->prepared->steps[n];
    times.push_back({step.node->name, step.node->op, step.executor(), 0});
    for (const Frame& frame : state_->frames) times.back().nanoseconds += frame.nanoseconds[n];
  }
  return times;
}

}  // namespace dyadic
