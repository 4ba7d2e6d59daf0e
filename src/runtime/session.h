// Runs a Model. A Session owns its threads, its memory and one immutable Plan a capacity bucket; what is packed once
// (kernels, tile programs) it may share with siblings. Any thread may call any member: runs take turns, each with all
// of the Session's threads. For runs at the same time, make siblings.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "graph/model.h"
#include "tensor/tensor.h"

namespace dyadic {

class Kernel;
struct Ranges;

enum class Backend : uint8_t {
  kKernels,    // a kernel where a row serves, else the tile program of the body
  kTile,       // tile programs only
  kEvaluator,  // the normative evaluator
};

// Makes what runs one composite instead of a kernel of the project. `proof` has no channels unless the options bring
// it. `operands`: one a body input, undefined for data; they share the parameters' memory.
using MakeKernel = std::function<std::unique_ptr<Kernel>(const Node& composite, const Body& body, const Ranges& proof,
                                                         const std::vector<Tensor>& operands)>;

// How a Session with several threads uses them, and in what order a batch is run. Whatever the choice, the bits are the
// same. Where composites treat sequences one by one (Prepared::is_separable) a batch runs in blocks of whole sequences,
// each through the whole model while it is in the caches.
enum class Schedule : uint8_t {
  kAuto,        // kThroughput where every thread gets a fair share of whole sequences, else kLatency
  kLatency,     // all threads work on each composite of each block
  kThroughput,  // each thread takes blocks of its own through the model
};

struct SessionOptions {
  Backend backend = Backend::kKernels;
  Isa isa = active_isa();  // the best instruction set to use
  int threads = 1;         // that run; as many, or two if there is one, prove and pack unless there is one processor
  MakeKernel make_kernel;  // of kKernels: makes every kernel, if it is set
  std::shared_ptr<const std::vector<Ranges>> proof;  // what prove_model gave, if the caller has it already
  Schedule schedule = Schedule::kAuto;
};

// Called with each output of each composite, in order; the view is valid during the call only.
using Tap = std::function<void(const Node& composite, size_t output, const TensorView& codes)>;

struct StepTime {
  std::string name, composite, executor;
  int64_t nanoseconds = 0;  // of the last run: all its blocks, added up over threads that each had rows of their own
};

class Session {
 public:
  // Proves the model's ranges unless the options bring the proof; kContract if they cannot be proved.
  Session(std::shared_ptr<const Model> model, SessionOptions options);
  ~Session();
  // Another Session that shares what this one packed, with threads, plans and memory of its own.
  std::unique_ptr<Session> sibling(int threads = 1) const;

  // `feeds`: a tensor for every input of the main graph. kContract naming the input if one is missing, has the wrong
  // type or shape, holds a number outside the range that the model promises, exceeds a symbol's maximum, or if
  // sequences overlap. kInterrupted, between two blocks, once a signal came that base/progress.h was asked to watch
  // for. `tap` must not call the Session; a tapped run is not cut into blocks.
  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& feeds, const Tap& tap = {});
  // The same, inputs and outputs in the order of the main graph. Outputs are the caller's memory, their dimensions as
  // the inputs make them (kContract otherwise). A run by kernels, of shapes whose bucket was used before, allocates
  // nothing.
  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs);

  const Model& model() const;
  const SessionOptions& options() const;
  // What executes each composite and why: a line each.
  std::string explain() const;
  // Times of the last run, one a composite, if they were switched on.
  void set_profiling(bool on);
  std::vector<StepTime> times() const;
  // Bytes of all arenas so far.
  int64_t arena_bytes() const;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One composite of a model as kernel rows see it.
struct KernelSpec;
KernelSpec kernel_spec(const Model& model, const Node& composite, const Ranges& ranges);

}  // namespace dyadic
