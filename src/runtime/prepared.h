// What a Model becomes once, before anything runs: who executes each composite, its parameters packed. Immutable, so
// Sessions share it.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/model.h"
#include "graph/ranges.h"
#include "kernels/kernel.h"
#include "runtime/session.h"
#include "runtime/tile/tile_program.h"

namespace dyadic {

// One composite, ready to run: by a kernel, a tile program, an island's executor or the evaluator.
struct Step {
  const Node* node = nullptr;
  const Body* body = nullptr;
  std::vector<ValueId> inputs, outputs;  // of the main graph; inputs without parameters
  std::vector<Tensor> operands;          // one a body input; undefined for data
  const KernelRow* row = nullptr;
  std::unique_ptr<const Kernel> kernel;
  std::optional<TileProgram> tile;
  bool is_island = false, is_shared = false;  // the kind of body
  bool is_rowwise = false;                    // each row of its outputs comes from that row of its inputs
  std::string why;                            // no kernel: the reasons

  std::string executor() const;
};

// The inputs `start` and `length` (of the main graph) that say where the sequences of a batch lie.
struct Spans {
  ValueId start, length;
  bool operator==(const Spans&) const = default;
};

class Preparation;

struct Prepared {
  // kContract if the model cannot be proved or the CPU lacks options.isa.
  Prepared(std::shared_ptr<const Model> model, const SessionOptions& options);

  std::shared_ptr<const Model> model;
  std::vector<Step> steps;
  std::map<ValueId, Interval> promised;  // of main inputs: what every consumer's body may rely on
  std::vector<Spans> spans;              // that must not overlap, each once
  // Every Value has a row for each token or for each sequence, and every composite computes a sequence from its own
  // rows alone: a batch may be run in parts.
  bool is_separable = false;
  std::string tokens, sequences;  // the two symbols, if so

 private:
  void prepare(const Node& node, const Ranges& proved, const SessionOptions& options, Preparation& preparation);
  void find_separation();
};

}  // namespace dyadic
