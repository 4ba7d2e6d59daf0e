#include <algorithm>

#include "base/status.h"
#include "kernels/kernel.h"

namespace dyadic {

// A row NAME declares `std::string NAME_reject(const KernelSpec&)` and `std::unique_ptr<Kernel> NAME_make(const
// KernelSpec&)`.
#define DYADIC_KERNEL(composite, isa, name)          \
  std::string name##_reject(const KernelSpec& spec); \
  std::unique_ptr<Kernel> name##_make(const KernelSpec& spec);
#include "kernels/kernels.inc"
#undef DYADIC_KERNEL

namespace {
constexpr KernelRow kRows[] = {
#define DYADIC_KERNEL(composite, isa, name) {#composite, #name, Isa::isa, name##_reject, name##_make},
#include "kernels/kernels.inc"
#undef DYADIC_KERNEL
    {nullptr, nullptr, Isa::kPortable, nullptr, nullptr}};
}  // namespace

std::span<const KernelRow> kernel_rows() { return {kRows, std::size(kRows) - 1}; }

const KernelRow* select_kernel(const KernelSpec& spec, Isa isa, std::string* why) {
  std::string reasons;
  for (const KernelRow& row : kernel_rows()) {
    if (row.composite != spec.composite || row.isa > isa) continue;
    const std::string reason = row.reject(spec);
    if (reason.empty()) return &row;
    reasons += cat(reasons.empty() ? "" : "; ", row.name, ": ", reason);
  }
  if (why) *why = reasons.empty() ? cat("no kernel for ", spec.composite) : reasons;
  return nullptr;
}

const KernelOperand* KernelSpec::find_input(const std::string& name) const {
  const auto it = std::find_if(inputs.begin(), inputs.end(), [&](const KernelOperand& o) { return o.name == name; });
  return it == inputs.end() ? nullptr : &*it;
}

const Tensor& KernelSpec::parameter(const std::string& name) const {
  const KernelOperand* operand = find_input(name);
  if (!operand || !operand->constant.defined())
    fail(ErrorKind::kContract, "composite ", composite, ": parameter ", name, " is missing");
  return operand->constant;
}

int64_t KernelSpec::integer(const std::string& name) const {
  const auto it = integers.find(name);
  if (it == integers.end()) fail(ErrorKind::kContract, "composite ", composite, ": attribute ", name, " is missing");
  return it->second;
}

size_t Kernel::scratch_bytes(std::span<const Dims>, int64_t) const { return 0; }

}  // namespace dyadic
