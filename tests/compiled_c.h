// Printed C, compiled by a compiler of this machine and loaded.
#pragma once
#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/status.h"
#include "graph/c_printer.h"
#include "graph/graph.h"

namespace dyadic::test {

inline bool has_compiler(const std::string& compiler) {
  return std::system(cat("command -v ", compiler, " >/dev/null 2>&1").c_str()) == 0;
}

// One printed body. Its entry takes pointers to inputs and outputs, and the symbols in the order of their names.
class CompiledC {
 public:
  // `stem` is a path without ending, for the files that are written; one that was loaded before is not loaded anew.
  // kFailed with the compiler's words if it fails.
  CompiledC(const Graph& body, const CFunction& function, const std::string& compiler, const std::string& flags,
            const std::string& stem)
      : body_(body), function_(function) {
    std::set<std::string> symbols;
    for (const Value& v : body.values)
      for (const Dim& d : v.shape) symbols.insert(d.symbols.begin(), d.symbols.end());
    symbols_.assign(symbols.begin(), symbols.end());
    std::string arguments;
    size_t pointers = 0;
    for (; pointers < body.inputs.size() + body.outputs.size(); ++pointers)
      arguments += cat("pointers[", pointers, "], ");
    for (size_t i = 0; i < symbols_.size(); ++i) arguments += cat("symbols[", i, "], ");
    std::ofstream(stem + ".c")
        << function.prelude << '\n'
        << function.code << "\nvoid entry(void **pointers, const int64_t *symbols, void *scratch);\n"
        << "void entry(void **pointers, const int64_t *symbols, void *scratch) {\n  (void)symbols;\n"
        << "  (void)pointers;\n  " << function.name << '(' << arguments << "scratch);\n}\n";
    const std::string command =
        cat(compiler, ' ', flags, " -shared -fPIC -o ", stem, ".so ", stem, ".c 2>", stem, ".txt");
    if (std::system(command.c_str()) != 0) {
      std::ifstream words(stem + ".txt");
      fail(ErrorKind::kFailed, command, ":\n", std::string(std::istreambuf_iterator<char>(words), {}));
    }
    library_.reset(dlopen((stem + ".so").c_str(), RTLD_NOW | RTLD_LOCAL), [](void* p) { dlclose(p); });
    if (!library_) fail(ErrorKind::kFailed, dlerror());
    entry_ = reinterpret_cast<Entry>(dlsym(library_.get(), "entry"));
    if (!entry_) fail(ErrorKind::kFailed, dlerror());
  }

  size_t scratch_bytes(const Bindings& bindings) const {
    return static_cast<size_t>(function_.scratch_bytes(bindings));
  }

  // `pointers`: inputs, then outputs. `bindings`: every symbol.
  void run(void** pointers, const Bindings& bindings, void* scratch) const {
    std::vector<int64_t> values;
    for (const std::string& s : symbols_) values.push_back(bindings.at(s));
    entry_(pointers, values.data(), scratch);
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs, Bindings bindings) const {
    std::vector<void*> pointers;
    for (size_t i = 0; i < inputs.size(); ++i) {
      unify(body_.value(body_.inputs[i]).shape, inputs[i].dims(), bindings, "input");
      pointers.push_back(const_cast<std::byte*>(inputs[i].raw()));
    }
    std::vector<Tensor> outputs;
    for (const ValueId v : body_.outputs)
      outputs.emplace_back(body_.value(v).type, dyadic::bind(body_.value(v).shape, bindings));
    for (Tensor& t : outputs) pointers.push_back(t.mutable_raw());
    AlignedBuffer scratch(scratch_bytes(bindings));
    run(pointers.data(), bindings, scratch.data());
    return outputs;
  }

 private:
  using Entry = void (*)(void**, const int64_t*, void*);
  const Graph body_;
  const CFunction function_;
  std::vector<std::string> symbols_;
  std::shared_ptr<void> library_;
  Entry entry_ = nullptr;
};

}  // namespace dyadic::test
