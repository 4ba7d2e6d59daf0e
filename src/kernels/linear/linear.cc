#include "kernels/linear/linear.h"

#include <algorithm>

#include "tensor/scan.h"

namespace dyadic {
namespace {

// Stages of the epilogue by kind; nullptr for those that are absent.
struct Stages {
  const EpilogueStage *bias = nullptr, *requantize = nullptr, *table = nullptr;
};

bool match_epilogue(const std::vector<EpilogueStage>& epilogue, Stages& stages) {
  auto stage = epilogue.begin();
  const auto take = [&](StageKind kind, const EpilogueStage*& found) {
    if (stage != epilogue.end() && stage->kind == kind) found = &*stage++;
  };
  take(StageKind::kBias, stages.bias);
  take(StageKind::kRequantize, stages.requantize);
  if (stages.requantize && stages.requantize->type == DataType::kI8) take(StageKind::kTable, stages.table);
  return stages.requantize && stage == epilogue.end();
}

// Empty, or why the parameter is not a constant of that type and one of the two shapes.
std::string reject_parameter(const KernelSpec& spec, const char* name, DataType type, const Dims& dims,
                             const Dims& other) {
  const KernelOperand* operand = spec.find_input(name);
  if (!operand || !operand->constant.defined()) return cat(name, " is not a constant");
  const Tensor& t = operand->constant;
  if (t.type() == type && (t.dims() == dims || t.dims() == other)) return "";
  return cat(name, " is ", dyadic::name(t.type()), to_string(t.dims()), ", not ", dyadic::name(type), to_string(dims));
}

// The contract's range where nothing narrower was proved.
Interval range_of_codes(const KernelOperand& x) { return x.range == Interval{0, 0} ? Interval{-127, 127} : x.range; }
int64_t largest_code(const KernelOperand& x) {
  const Interval range = range_of_codes(x);
  return std::max(-range.lo, range.hi);
}

std::vector<int64_t> magnitudes(const Tensor& weight, const int32_t* bias, int64_t largest) {
  const int64_t N = weight.dim(0), K = weight.dim(1);
  std::vector<int64_t> result(N);
  magnitude_sums(weight.data<int8_t>(), N, K, result.data());
  for (int64_t n = 0; n < N; ++n) result[n] = result[n] * largest + (bias ? std::abs(int64_t{bias[n]}) : 0);
  return result;
}

const int32_t* bias_of(const KernelSpec& spec, const Stages& stages) {
  return stages.bias ? spec.parameter("bias").data<int32_t>() : nullptr;
}

std::string reject_operands(const KernelSpec& spec, const Stages& stages) {
  const KernelOperand* weight = spec.find_input("weight");
  if (!weight || !weight->constant.defined() || weight->constant.type() != DataType::kI8 ||
      weight->constant.rank() != 2 || weight->constant.count() == 0)
    return "weight is not a constant i8 [N,K]";
  const int64_t N = weight->constant.dim(0), K = weight->constant.dim(1);
  const KernelOperand* x = spec.find_input("x");
  if (!x || x->type != DataType::kI8 || x->dims.size() != 2 || x->dims[1] != K) return cat("x is not i8 [T,", K, "]");

  std::string reason;
  if (stages.bias) reason = reject_parameter(spec, "bias", DataType::kI32, {N}, {N});
  if (reason.empty()) reason = reject_parameter(spec, "m", DataType::kI32, {N}, {1});
  if (reason.empty()) reason = reject_parameter(spec, "s", DataType::kU8, {1}, {N});
  if (!reason.empty()) return reason;
  for (uint8_t s : spec.parameter("s").span<uint8_t>())
    if (s > 62) return cat("s holds ", int{s}, ", above 62");

  if (stages.table) {
    const KernelOperand* ends = spec.find_input("ends");
    if (!ends || !ends->constant.defined() || ends->constant.type() != DataType::kI32 || ends->constant.rank() != 1)
      return "ends is not a constant i32 [G]";
    const int64_t G = ends->constant.count();
    reason = reject_parameter(spec, "tables", DataType::kI8, {G, 256}, {G, 256});
    if (!reason.empty()) return reason;
    const std::span<const int32_t> values = ends->constant.span<int32_t>();
    if (!std::is_sorted(values.begin(), values.end()) || G == 0 || values.front() < 0 || values.back() != N)
      return cat("ends is not a rising sequence up to N = ", N);
  }
  return "";
}

std::string reject_outputs(const KernelSpec& spec, DataType type, int64_t N) {
  int64_t width = 0;
  for (const KernelOperand& y : spec.outputs) {
    if (y.type != type || y.dims.size() != 2 || y.dims[1] < 1)
      return cat("output ", y.name, " is not ", name(type), " [T,n]");
    width += y.dims[1];
  }
  return width == N ? "" : cat("outputs have ", width, " columns, the weight ", N);
}

// A parameter of one element stands for all columns.
template <class T>
std::vector<T> per_column(const Tensor& t, int64_t N) {
  const std::span<const T> values = t.span<T>();
  return values.size() == 1 ? std::vector<T>(N, values[0]) : std::vector<T>(values.begin(), values.end());
}

}  // namespace

std::string linear_reject(const KernelSpec& spec) {
  if (spec.version != 1) return cat("version ", spec.version, " of linear is unknown");
  Stages stages;
  if (!match_epilogue(spec.epilogue, stages))
    return cat("epilogue \"", to_string(spec.epilogue), "\" is not [bias] requantize [table]");
  const EpilogueStage& requantize = *stages.requantize;
  if ((requantize.type != DataType::kI8 && requantize.type != DataType::kI16) ||
      !range_of(requantize.type).contains(requantize.clamp) || requantize.clamp.lo > requantize.clamp.hi)
    return "requantize is not to i8 or i16 with a clamp inside that type";
  if (std::abs(requantize.zero_point) > 32768) return "zero point beyond 16 bits";
  if (stages.table && stages.table->type != DataType::kI8) return "table is not of i8";

  std::string reason = reject_operands(spec, stages);
  if (!reason.empty()) return reason;
  const Tensor& weight = spec.parameter("weight");
  reason = reject_outputs(spec, requantize.type, weight.dim(0));
  if (!reason.empty()) return reason;
  const int64_t largest = largest_code(*spec.find_input("x")), K = weight.dim(1);
  const int32_t* bias = bias_of(spec, stages);
  int64_t largest_bias = 0;
  for (int64_t n = 0; bias && n < weight.dim(0); ++n) largest_bias = std::max(largest_bias, std::abs(int64_t{bias[n]}));
  if (K * 128 * largest + largest_bias < int64_t{1} << 31) return "";  // whatever the weights are
  for (int64_t magnitude : magnitudes(weight, bias, largest))
    if (magnitude >= int64_t{1} << 31) return cat("an accumulator can reach ", magnitude, ", beyond 32 bits");
  return "";
}

LinearParameters linear_parameters(const KernelSpec& spec) {
  const std::string reason = linear_reject(spec);
  if (!reason.empty()) fail(ErrorKind::kContract, "linear: ", reason);
  Stages stages;
  match_epilogue(spec.epilogue, stages);
  LinearParameters p;
  p.weight = spec.parameter("weight");
  p.N = p.weight.dim(0);
  p.K = p.weight.dim(1);
  p.bias = stages.bias ? per_column<int32_t>(spec.parameter("bias"), p.N) : std::vector<int32_t>(p.N);
  p.m = per_column<int32_t>(spec.parameter("m"), p.N);
  p.s = per_column<uint8_t>(spec.parameter("s"), p.N);
  p.x_range = range_of_codes(*spec.find_input("x"));
  p.magnitude = magnitudes(p.weight, bias_of(spec, stages), largest_code(*spec.find_input("x")));
  p.code = stages.requantize->type;
  p.clamp = stages.requantize->clamp;
  p.zero_point = stages.requantize->zero_point;
  if (stages.table) {
    p.tables = spec.parameter("tables");
    for (int32_t end : spec.parameter("ends").span<int32_t>()) p.ends.push_back(end);
  }
  for (const KernelOperand& y : spec.outputs) p.splits.push_back(y.dims[1]);
  return p;
}

}  // namespace dyadic
