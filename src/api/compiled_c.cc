#include "api/compiled_c.h"

#include <dlfcn.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

#include "api/files.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/status.h"

namespace dyadic {

bool has_compiler(const std::string& compiler) {
  return std::system(cat("command -v ", compiler, " >/dev/null 2>&1").c_str()) == 0;
}

CompiledC::CompiledC(const Graph& body, const CFunction& function, const std::string& compiler,
                     const std::string& flags)
    : body_(body), function_(function) {
  std::set<std::string> symbols;
  for (const Value& v : body.values)
    for (const Dim& d : v.shape) symbols.insert(d.symbols.begin(), d.symbols.end());
  symbols_.assign(symbols.begin(), symbols.end());
  std::string arguments;
  for (size_t i = 0; i < body.inputs.size() + body.outputs.size(); ++i) arguments += cat("pointers[", i, "], ");
  for (size_t i = 0; i < symbols_.size(); ++i) arguments += cat("symbols[", i, "], ");

  const TemporaryFolder folder;
  const std::string source = folder.path() + "/body.c", object = folder.path() + "/body.so",
                    words = folder.path() + "/words.txt";
  std::ofstream printed(source);
  printed << function.prelude << '\n'
          << function.code
          << "\nvoid entry(void **pointers, const int64_t *symbols, void *scratch);\n"
             "void entry(void **pointers, const int64_t *symbols, void *scratch) {\n"
             "  (void)symbols;\n  (void)pointers;\n  "
          << function.name << '(' << arguments << "scratch);\n}\n";
  if (!printed.flush()) fail(ErrorKind::kFailed, source, ": write failed: ", std::strerror(errno));
  const std::string command = cat(compiler, ' ', flags, " -shared -fPIC -o ", object, ' ', source);
  const int status = std::system(cat(command, " 2>", words).c_str());
  // While it runs, an interrupt from the keyboard ends it and is not seen here.
  if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) || (WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGINT))
    fail(ErrorKind::kInterrupted, "interrupted");
  check_interrupted();
  if (status != 0) fail(ErrorKind::kFailed, command, ":\n", read_file(words));
  library_.reset(dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL), [](void* p) {
    if (p) dlclose(p);
  });
  if (!library_) fail(ErrorKind::kFailed, dlerror());
  entry_ = reinterpret_cast<Entry>(dlsym(library_.get(), "entry"));
  if (!entry_) fail(ErrorKind::kFailed, dlerror());
}

size_t CompiledC::scratch_bytes(const Bindings& bindings) const {
  return static_cast<size_t>(function_.scratch_bytes(bindings));
}

void CompiledC::run(void** pointers, const Bindings& bindings, void* scratch) const {
  std::vector<int64_t> values;
  for (const std::string& s : symbols_) values.push_back(bindings.at(s));
  entry_(pointers, values.data(), scratch);
}

std::vector<Tensor> CompiledC::run(const std::vector<Tensor>& inputs, Bindings bindings) const {
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

}  // namespace dyadic
