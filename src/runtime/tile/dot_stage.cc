#include "runtime/tile/dot_stage.h"

#include <algorithm>

#include "base/status.h"
#include "kernels/dot/dot.h"
#include "runtime/tile/movement.h"

namespace dyadic::tile {
namespace {

std::vector<int> axes_of(const Node& node, const std::string& key, size_t rank) {
  std::vector<int> axes;
  for (const int64_t axis : node.integers_or_empty(key))
    axes.push_back(static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis));
  return axes;
}

int64_t count_of(const Dims& dims, const std::vector<int>& axes) {
  int64_t count = 1;
  for (const int axis : axes) count *= dims[axis];
  return count;
}

// The narrowest pair of types of a dot kernel that holds both ranges; the result accumulates modulo 2^32 or 2^64.
std::pair<DataType, DataType> kernel_types(Interval a, Interval b, DataType result) {
  const Interval s8 = range_of(DataType::kI8), u8 = range_of(DataType::kU8), s16 = range_of(DataType::kI16);
  if (result == DataType::kI32 && s8.contains(b)) {
    if (s8.contains(a)) return {DataType::kI8, DataType::kI8};
    if (u8.contains(a)) return {DataType::kU8, DataType::kI8};
  }
  if (s16.contains(a) && s16.contains(b)) return {DataType::kI16, DataType::kI16};
  return {result, result};
}

template <class T>
void dot_plain(int64_t M, int64_t N, int64_t K, const T* a, const T* b, T* c) {
  using U = std::make_unsigned_t<T>;
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) {
      U sum = 0;
      for (int64_t k = 0; k < K; ++k) sum += static_cast<U>(a[i * K + k]) * static_cast<U>(b[j * K + k]);
      c[i * N + j] = static_cast<T>(sum);
    }
}

}  // namespace

DotStage::DotStage(const Graph& graph, const Ranges& ranges, const Node& node, std::span<const DataType> storage,
                   Isa isa)
    : result_(node.outputs[0]), result_type_(storage[result_]) {
  DYADIC_CHECK(result_type_ == DataType::kI32 || result_type_ == DataType::kI64);
  std::tie(sides_[0].packed_type, sides_[1].packed_type) =
      kernel_types(ranges.values[node.inputs[0]], ranges.values[node.inputs[1]], result_type_);
  for (const int k : {0, 1}) {
    Side& side = sides_[k];
    side.value = node.inputs[k];
    side.type = storage[side.value];
    const Value& value = graph.value(side.value);
    const size_t rank = value.shape.size();
    side.batch = axes_of(node, k ? "batch_b" : "batch_a", rank);
    side.contract = axes_of(node, k ? "contract_b" : "contract_a", rank);
    std::vector<int> order = side.batch;
    for (int axis = 0; axis < static_cast<int>(rank); ++axis)
      if (!std::count(side.batch.begin(), side.batch.end(), axis) &&
          !std::count(side.contract.begin(), side.contract.end(), axis))
        side.free.push_back(axis);
    order.insert(order.end(), side.free.begin(), side.free.end());
    order.insert(order.end(), side.contract.begin(), side.contract.end());
    side.in_place = side.type == side.packed_type && std::is_sorted(order.begin(), order.end());
    if (value.is_constant() && !side.in_place) {
      Frame frame;
      frame.dims.resize(graph.values.size());
      frame.data.resize(graph.values.size());
      frame.dims[side.value] = value.constant.dims();
      frame.data[side.value] = const_cast<std::byte*>(value.constant.raw());
      Tensor packed(side.packed_type, {value.constant.count()});
      std::byte* to = packed.mutable_raw();
      lay_out(side, frame, to);
      side.packed = packed;
    }
  }
  const Side& b = sides_[1];
  const Value& value = graph.value(b.value);
  if (!value.is_constant() || !b.batch.empty() || result_type_ != DataType::kI32 || bits(b.packed_type) > 16) return;
  const Tensor& laid_out = b.packed.defined() ? b.packed : value.constant;
  const int64_t N = count_of(value.constant.dims(), b.free), K = count_of(value.constant.dims(), b.contract);
  panels_ = pack_panels(panel_dot(isa, sides_[0].packed_type, b.packed_type), laid_out.raw(), K, N, K);
  sides_[1].packed = Tensor();
}

size_t DotStage::scratch_bytes(const Graph& graph, const Bindings& bindings) const {
  size_t bytes = 0;
  for (const Side& side : sides_)
    if (!side.in_place && !side.packed.defined() && !(panels_ && &side == &sides_[1]))
      bytes += storage_bytes(side.packed_type, element_count(graph.value(side.value).shape).value(bindings)) + 64;
  if (panels_) {
    int64_t M = 1;
    for (const int axis : sides_[0].free) M *= graph.value(sides_[0].value).shape[axis].value(bindings);
    bytes += product_scratch_bytes(*panels_, M);
  }
  return bytes;
}

const std::byte* DotStage::lay_out(const Side& side, const Frame& frame, std::byte*& scratch) const {
  if (side.packed.defined()) return side.packed.raw();
  const Dims& dims = frame.dims[side.value];
  if (side.in_place) return frame.data[side.value];
  const TensorView from{side.type, dims, frame.data[side.value]};
  const Dims strides = strides_of(dims);
  Dims to_dims, from_strides;
  for (const auto* axes : {&side.batch, &side.free, &side.contract})
    for (const int axis : *axes) {
      to_dims.push_back(dims[axis]);
      from_strides.push_back(strides[axis]);
    }
  const TensorView to{side.packed_type, to_dims, scratch};
  copy_strided(to_dims, to, strides_of(to_dims), from, from_strides);
  scratch += (storage_bytes(side.packed_type, element_count(to_dims)) + 63) / 64 * 64;
  return to.data;
}

void DotStage::run(const Frame& frame, std::byte* scratch) const {
  const std::byte* a = lay_out(sides_[0], frame, scratch);
  const Dims &a_dims = frame.dims[sides_[0].value], &b_dims = frame.dims[sides_[1].value];
  const int64_t batches = count_of(a_dims, sides_[0].batch), M = count_of(a_dims, sides_[0].free),
                N = count_of(b_dims, sides_[1].free), K = count_of(a_dims, sides_[0].contract);
  std::byte* c = frame.data[result_];
  if (panels_) return product(*panels_, M, N, a, K, reinterpret_cast<int32_t*>(c), N, scratch);
  const std::byte* b = lay_out(sides_[1], frame, scratch);
  const bool wide = result_type_ == DataType::kI64;
  const int64_t a_bytes = storage_bytes(sides_[0].packed_type, M * K),
                b_bytes = storage_bytes(sides_[1].packed_type, N * K), c_bytes = storage_bytes(result_type_, M * N);
  for (int64_t batch = 0; batch < batches; ++batch, a += a_bytes, b += b_bytes, c += c_bytes) {
    auto* c32 = reinterpret_cast<int32_t*>(c);
    auto* c64 = reinterpret_cast<int64_t*>(c);
    const auto* b8 = reinterpret_cast<const int8_t*>(b);
    const auto *a16 = reinterpret_cast<const int16_t*>(a), *b16 = reinterpret_cast<const int16_t*>(b);
    switch (sides_[0].packed_type) {
      case DataType::kI8:
        dot_s8s8_s32(M, N, K, reinterpret_cast<const int8_t*>(a), K, b8, K, c32, N);
        break;
      case DataType::kU8:
        dot_u8s8_s32(M, N, K, reinterpret_cast<const uint8_t*>(a), K, b8, K, c32, N);
        break;
      case DataType::kI16:
        if (wide)
          dot_s16s16_s64(M, N, K, a16, K, b16, K, c64, N);
        else
          dot_s16s16_s32(M, N, K, a16, K, b16, K, c32, N);
        break;
      default:
        if (wide)
          dot_plain(M, N, K, reinterpret_cast<const int64_t*>(a), reinterpret_cast<const int64_t*>(b), c64);
        else
          dot_plain(M, N, K, reinterpret_cast<const int32_t*>(a), reinterpret_cast<const int32_t*>(b), c32);
    }
  }
}

std::string DotStage::describe() const {
  std::string text =
      cat("dot ", name(sides_[0].packed_type), " x ", name(sides_[1].packed_type), " -> ", name(result_type_));
  for (const int k : {0, 1})
    if (k == 1 && panels_)
      text += cat(", operand 1 packed once for ", panels_->dot->name);
    else if (!sides_[k].in_place)
      text += cat(", operand ", k, sides_[k].packed.defined() ? " laid out once" : " laid out");
  return text + "\n";
}

}  // namespace dyadic::tile
