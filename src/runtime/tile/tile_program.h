// Tile programs: the executor of any body, without a kernel written for it and without a compiler at run time.
//
// A body becomes a list of stages. Dots run on portable kernels over operands in their narrowest proven storage;
// movement (gather, transpose, concat, ..) copies; everything else is fused into row programs: linear bytecode over
// registers of about a thousand lanes that stay in the L1 cache, each operation one plain loop compiled once per
// instruction set, lanes 32 or 64 bits wide as the range proof allows. The results equal the evaluator's in every bit.
//
// A body that is local along a symbol (each of its results' rows depends on the same rows of its operands, as in linear
// over T or attention over B) runs in blocks of that symbol, in parallel, so that its scratch memory does not grow with
// it.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/threads.h"
#include "graph/graph.h"
#include "graph/ranges.h"

namespace dyadic {

class TileProgram {
 public:
  // `ranges` is prove_ranges' result on this body with these parameters. parameters[i], if defined, is bound to
  // body.inputs[i] for good; an undefined Tensor (or a missing one at the end) leaves that input an operand of run().
  // kContract naming the node for an operation that touches real numbers.
  TileProgram(const Graph& body, const Ranges& ranges, std::span<const Tensor> parameters, Isa isa = active_isa());
  TileProgram(TileProgram&&) noexcept;
  TileProgram& operator=(TileProgram&&) noexcept;
  ~TileProgram();

  // `inputs` are the operands that are not bound, `outputs` the body's outputs, both in the body's order, with their
  // actual dimensions and declared types. `bindings` gives the symbols that no input shape binds (e.g. L). `scratch` is
  // 64-byte aligned, of at least scratch_bytes(all symbols, pool.threads()) bytes; its content before and after is
  // arbitrary. kContract if shapes disagree or scratch is too small; kContract naming the node if an index or a
  // slice's start leaves its operand. Facts and input ranges are trusted.
  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs, const Bindings& bindings,
           ThreadPool& pool, std::span<std::byte> scratch) const;
  // The same with everything allocated here.
  std::vector<Tensor> run(std::span<const Tensor> inputs, const Bindings& bindings, ThreadPool& pool) const;

  // Monotone in every symbol: the size for the largest bindings serves all smaller ones.
  size_t scratch_bytes(const Bindings& bindings, int threads) const;

  // For people: the stages, and each row program's bytecode with lane types.
  std::string describe() const;

  struct State;

 private:
  std::unique_ptr<const State> state_;
};

}  // namespace dyadic
