#include "api/verify_backends.h"

#include <algorithm>
#include <map>
#include <utility>

#include "api/compiled_c.h"
#include "base/status.h"
#include "graph/ranges.h"
#include "kernels/kernel.h"

namespace dyadic {
namespace {

// ---- generated C as kernels --------------------------------------------------------------------------------------

// A symbol that no shape gives a value, and the data input whose largest element it is.
using LargestOf = std::vector<std::pair<std::string, size_t>>;

class CKernel : public Kernel {
 public:
  CKernel(std::shared_ptr<const CompiledC> code, const Graph& body, std::vector<Tensor> operands, LargestOf largest)
      : code_(std::move(code)), body_(body), operands_(std::move(operands)), largest_(std::move(largest)) {
    for (size_t i = 0; i < operands_.size(); ++i)
      if (!operands_[i].defined()) data_.push_back(i);
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    std::vector<void*> pointers;
    for (const Tensor& t : operands_) pointers.push_back(const_cast<std::byte*>(t.raw()));
    for (size_t i = 0; i < inputs.size(); ++i) pointers[data_[i]] = inputs[i].data;
    for (const TensorView& y : outputs) pointers.push_back(y.data);
    std::vector<Dims> dims;
    for (const TensorView& x : inputs) dims.push_back(x.dims);
    Bindings bindings = bind_shapes(dims);
    for (const auto& [symbol, input] : largest_) {
      const TensorView& lengths = inputs[input];
      const int32_t* values = lengths.as<int32_t>();
      bindings[symbol] = lengths.count() == 0 ? 1 : std::max(1, *std::max_element(values, values + lengths.count()));
    }
    code_->run(pointers.data(), bindings, context.scratch[0]);
  }

  size_t scratch_bytes(std::span<const Dims> inputs, int64_t max_length) const override {
    Bindings bindings = bind_shapes(inputs);
    for (const auto& [symbol, input] : largest_) bindings[symbol] = max_length;
    return code_->scratch_bytes(bindings);
  }

 private:
  Bindings bind_shapes(std::span<const Dims> inputs) const {
    Bindings bindings;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Value& formal = body_.value(body_.inputs[data_[i]]);
      unify(formal.shape, inputs[i], bindings, formal.name);
    }
    return bindings;
  }

  std::shared_ptr<const CompiledC> code_;
  const Graph& body_;
  std::vector<Tensor> operands_;
  LargestOf largest_;
  std::vector<size_t> data_;  // body inputs without a parameter
};

Ranges hull(Ranges a, const Ranges& b) {
  for (size_t v = 0; v < a.values.size(); ++v)
    a.values[v] = {std::min(a.values[v].lo, b.values[v].lo), std::max(a.values[v].hi, b.values[v].hi)};
  return a;
}

bool contains(const Ranges& outer, const Ranges& inner) {
  for (size_t v = 0; v < outer.values.size(); ++v)
    if (!outer.values[v].contains(inner.values[v])) return false;
  return true;
}

// Each distinct body is printed and compiled once, for ranges that hold for every composite that uses it.
class CCompiler {
 public:
  CCompiler(std::shared_ptr<const Model> model, const std::vector<Ranges>& proof, std::string compiler,
            std::string flags)
      : model_(std::move(model)), compiler_(std::move(compiler)), flags_(std::move(flags)) {
    const auto& nodes = model_->main().nodes;
    for (size_t n = 0; n < nodes.size(); ++n) {
      if (nodes[n].body.empty()) continue;
      const auto [known, fresh] = hulls_.try_emplace(nodes[n].body, proof[n]);
      if (!fresh) known->second = hull(known->second, proof[n]);
    }
  }

  std::unique_ptr<Kernel> kernel(const Node& node, const Body& body, const Ranges& proof,
                                 const std::vector<Tensor>& operands) {
    return std::make_unique<CKernel>(compiled(node.body, body, proof), body.graph, operands,
                                     largest(body.graph, operands));
  }

 private:
  using Compiled = std::pair<Ranges, std::shared_ptr<const CompiledC>>;

  std::shared_ptr<const CompiledC> compiled(const std::string& key, const Body& body, const Ranges& proof) {
    std::vector<Compiled>& known = compiled_[key];
    for (const auto& [ranges, code] : known)
      if (contains(ranges, proof)) return code;
    const Ranges ranges = hull(proof, hulls_.at(key));
    known.emplace_back(
        ranges, std::make_shared<const CompiledC>(body.graph, print_c(body.graph, ranges, "body"), compiler_, flags_));
    return known.back().second;
  }

  // A model says "the largest of its input `length`"; composites call that input by the same name.
  LargestOf largest(const Graph& body, const std::vector<Tensor>& operands) const {
    LargestOf result;
    for (const auto& [symbol, declared] : model_->symbols) {
      size_t data = 0;
      for (size_t i = 0; i < body.inputs.size(); ++i) {
        if (operands[i].defined()) continue;
        if (body.value(body.inputs[i]).name == declared.largest_of) result.emplace_back(symbol, data);
        ++data;
      }
    }
    return result;
  }

  std::shared_ptr<const Model> model_;
  std::string compiler_, flags_;
  std::map<std::string, Ranges> hulls_;
  std::map<std::string, std::vector<Compiled>> compiled_;
};

}  // namespace

MakeKernel printed_c(std::shared_ptr<const Model> model, const std::vector<Ranges>& proof, const std::string& compiler,
                     const std::string& flags) {
  const auto code = std::make_shared<CCompiler>(std::move(model), proof, compiler, flags);
  return [code](const Node& node, const Body& body, const Ranges& ranges, const std::vector<Tensor>& operands) {
    return code->kernel(node, body, ranges, operands);
  };
}

std::vector<VerifyBackend> verify_backends(const std::shared_ptr<const Model>& model,
                                           const std::shared_ptr<const std::vector<Ranges>>& proof, int max_threads,
                                           std::vector<std::string>& skipped) {
  constexpr int64_t kAll = 1 << 20;
  std::vector<VerifyBackend> backends;
  const auto add = [&](std::string name, Backend backend, Isa isa, int threads, int64_t batch, MakeKernel make = {}) {
    backends.push_back({std::move(name), {backend, isa, threads, std::move(make), proof}, batch});
  };
  add("evaluator", Backend::kEvaluator, Isa::kPortable, 1, 512);
  for (const auto& [backend, label] : {std::pair(Backend::kTile, "tile"), std::pair(Backend::kKernels, "kernels")})
    for (const Isa isa : kAllIsas) {
      const std::string name = cat(label, ":", isa_name(isa));
      if (isa > active_isa()) {
        skipped.push_back(cat(name, ": SKIPPED: this CPU (or DYADIC_ISA) has no ", isa_name(isa)));
        continue;
      }
      add(name, backend, isa, 1, kMixedBatch);
      if (isa != active_isa()) continue;
      if (backend == Backend::kKernels) {
        add(name + ":batch=1", backend, isa, 1, 1);
        add(name + ":batch=all", backend, isa, 1, kAll);
      }
      if (max_threads >= 2) add(name + ":threads=2", backend, isa, 2, kMixedBatch);
    }
  for (const char* compiler : {"gcc", "clang"}) {
    const std::string name = cat("c:", compiler);
    if (!has_compiler(compiler)) {
      skipped.push_back(cat(name, ": SKIPPED: there is no command ", compiler));
      continue;
    }
    add(name, Backend::kKernels, Isa::kPortable, 1, kMixedBatch, printed_c(model, *proof, compiler, "-std=c99 -O2"));
  }
  return backends;
}

}  // namespace dyadic
