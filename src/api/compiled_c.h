// Printed C, compiled by a compiler of this machine and loaded into the process.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/c_printer.h"
#include "graph/graph.h"

namespace dyadic {

// Whether the shell finds a command of this name.
bool has_compiler(const std::string& compiler);

// One printed body. Its function takes pointers to inputs and outputs, and the symbols in the order of their names.
class CompiledC {
 public:
  // kFailed with the compiler's words if it fails. Nothing that is written stays behind.
  CompiledC(const Graph& body, const CFunction& function, const std::string& compiler, const std::string& flags);

  size_t scratch_bytes(const Bindings& bindings) const;
  // `pointers`: inputs, then outputs. `bindings`: every symbol. `scratch`: 64-byte aligned.
  void run(void** pointers, const Bindings& bindings, void* scratch) const;
  // The same with everything allocated here; `bindings` gives the symbols that no input binds.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, Bindings bindings) const;

 private:
  using Entry = void (*)(void**, const int64_t*, void*);
  Graph body_;
  CFunction function_;
  std::vector<std::string> symbols_;
  std::shared_ptr<void> library_;
  Entry entry_ = nullptr;
};

}  // namespace dyadic
