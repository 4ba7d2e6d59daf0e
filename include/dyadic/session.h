// Runs a quantized model on integers. In libdyadic_runtime, which computes no float at all.
//
//   dyadic::v1::Session session(dyadic::v1::Model::open("minilm.dyad"));
//   const dyadic::v1::Tensor codes = session.run_tokens({{101, 7592, 102}});
//   const std::vector<float> embedding = dyadic::v1::dequantize(codes, *session.model().outputs()[0].encoding);
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <dyadic/model.h>

namespace dyadic::v1 {

enum class Executor {
  kKernels,    // the fastest that this CPU has
  kPortable,   // kernels without instruction set extensions
  kTile,       // generated programs only, no kernel written by hand
  kEvaluator,  // the definition itself, slow; every overflow is an error
};

enum class Schedule {
  kAuto,        // kThroughput where a batch gives every thread a fair share of whole texts, else kLatency
  kLatency,     // all threads work on the same texts
  kThroughput,  // each thread takes texts of its own
};

struct SessionOptions {
  Executor executor = Executor::kKernels;  // the result is the same in every bit
  int threads = 1;                         // 1..1024, the calling thread included
  Schedule schedule = Schedule::kAuto;     // of more than one thread
};

// Packs a model's parameters once and keeps memory for the shapes it has seen. Threads may share
// a Session, whose runs then take turns; for runs side by side make siblings.
class Session {
 public:
  // kContract if the model's ranges cannot be proved, kUsage for options out of range.
  explicit Session(Model model, SessionOptions options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Another Session that shares the packed parameters of this one, with threads and memory of its own. kUsage for
  // threads out of range.
  Session sibling(int threads = 1) const;

  // A tensor for every input; one for every output comes back, by name. kContract naming the input if one is missing,
  // has the wrong type or shape, holds a number outside the range that the model promises, or is too large.
  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& inputs);

  // A text encoder on token ids, special tokens included: one row of codes for each text. kContract if the model is not
  // one (inputs token, position, type, start, length and one output), a text is empty or too long, or an id is unknown.
  Tensor run_tokens(const std::vector<std::vector<int32_t>>& texts);

  const Model& model() const;
  // What executes each layer and why: a line each.
  std::string explain() const;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The float nearest to scale * (code - zero_point), of each code in order; found without a float instruction.
std::vector<float> dequantize(const Tensor& codes, const Encoding& encoding);

}  // namespace dyadic::v1
