#include "tensor/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace dyadic {
namespace {

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::string_view kPadPrefix = "__pad.";
constexpr size_t kPrefixBytes = 8, kAlignment = 64, kMaxRank = 64;

// Every element type of the format. Types without `read_as` have a known size, so that files holding them open, but
// cannot be read.
struct ElementType {
  std::string_view name;
  int bits;
  std::optional<DataType> read_as;
};
constexpr ElementType kElementTypes[] = {
    {"I8", 8, DataType::kI8},     {"U8", 8, DataType::kU8},     {"I16", 16, DataType::kI16},
    {"U16", 16, DataType::kU16},  {"I32", 32, DataType::kI32},  {"U32", 32, DataType::kU32},
    {"I64", 64, DataType::kI64},  {"F32", 32, DataType::kF32},  {"F64", 64, DataType::kF64},
    {"BOOL", 8, DataType::kU8},   {"F16", 16, DataType::kF32},  {"BF16", 16, DataType::kF32},
    {"U64", 64, std::nullopt},    {"F8_E4M3", 8, std::nullopt}, {"F8_E5M2", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt}, {"F6_E2M3", 6, std::nullopt}, {"F6_E3M2", 6, std::nullopt},
    {"F4", 4, std::nullopt},      {"C64", 64, std::nullopt},
};

const ElementType* find_element_type(std::string_view name) {
  const auto* it = std::ranges::find(kElementTypes, name, &ElementType::name);
  return it == std::end(kElementTypes) ? nullptr : it;
}

// The bits of the f32 that equals a half. A subnormal half is normal as f32: its leading one moves to bit 10.
uint32_t widen_half(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31;
  uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 31) return sign | 0x7f800000u | mantissa << 13;
  if (exponent == 0) {
    if (mantissa == 0) return sign;
    const int shift = std::countl_zero(mantissa) - 21;
    mantissa = mantissa << shift & 1023;
    exponent = 1 - shift;
  }
  return sign | (exponent + 127 - 15) << 23 | mantissa << 13;
}

uint32_t widen_bfloat16(uint16_t half) { return uint32_t{half} << 16; }

uint16_t load_u16(const std::byte* p) {
  return static_cast<uint16_t>(std::to_integer<uint16_t>(p[0]) | std::to_integer<uint16_t>(p[1]) << 8);
}

Tensor widen(const std::byte* data, const Dims& dims, uint32_t (*to_f32)(uint16_t)) {
  Tensor t(DataType::kF32, dims);
  for (int64_t i = 0; i < t.count(); ++i) {
    const uint32_t bits = to_f32(load_u16(data + 2 * i));
    std::memcpy(t.mutable_raw() + 4 * i, &bits, 4);
  }
  return t;
}

// The file's little-endian elements as the machine's own, or the reverse.
void copy_elements(std::byte* to, const std::byte* from, int64_t count, int bytes) {
  if (std::endian::native == std::endian::little || bytes == 1) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count * bytes));
  } else {
    for (int64_t i = 0; i < count; ++i) std::reverse_copy(from + i * bytes, from + (i + 1) * bytes, to + i * bytes);
  }
}

std::pair<int64_t, int64_t> offsets(const JsonObject& info, int64_t data_bytes) {
  const Json& value = info.at("data_offsets");
  if (!value.is_array() || value.size() != 2 || !value[0].is_number_unsigned() || !value[1].is_number_unsigned())
    fail(ErrorKind::kMalformed, info.where(), ": key 'data_offsets' must be [begin, end]");
  const auto begin = value[0].get<uint64_t>(), end = value[1].get<uint64_t>();
  if (begin > end || end > static_cast<uint64_t>(data_bytes))
    fail(ErrorKind::kMalformed, info.where(), ": data_offsets [", begin, ", ", end, "] lie outside the ", data_bytes,
         " bytes of data (is the file truncated?)");
  return {static_cast<int64_t>(begin), static_cast<int64_t>(end)};
}

Dims shape(const JsonObject& info, int bits, int64_t bytes) {
  const Json& value = info.at("shape");
  if (!value.is_array() || value.size() > kMaxRank)
    fail(ErrorKind::kMalformed, info.where(), ": key 'shape' must be a list of at most ", kMaxRank, " dimensions");
  Dims dims;
  int64_t total_bits = bits;
  for (const Json& d : value) {
    if (!d.is_number_unsigned() || d.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX) ||
        __builtin_mul_overflow(total_bits, d.get<int64_t>(), &total_bits))
      fail(ErrorKind::kMalformed, info.where(), ": key 'shape' has a dimension that is no size, or is too large");
    dims.push_back(d.get<int64_t>());
  }
  if (total_bits % 8 != 0 || total_bits / 8 != bytes)
    fail(ErrorKind::kMalformed, info.where(), ": shape ", to_string(dims), " of ", info.string("dtype"), " needs ",
         total_bits / 8, " bytes, data_offsets give it ", bytes);
  return dims;
}

}  // namespace

std::shared_ptr<const Safetensors> Safetensors::open(const std::string& path, const SafetensorsLimits& limits) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() < kPrefixBytes)
    fail(ErrorKind::kMalformed, path, ": ", bytes.size(), " bytes are too few for the header length at byte 0");
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kPrefixBytes; ++i) header_bytes |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  if (header_bytes > limits.max_header_bytes)
    fail(ErrorKind::kMalformed, path, ": the header length at byte 0 is ", header_bytes, ", more than the ",
         limits.max_header_bytes, " allowed (is it a .dyad or .safetensors file?)");
  if (header_bytes > bytes.size() - kPrefixBytes)
    fail(ErrorKind::kMalformed, path, ": the header length at byte 0 is ", header_bytes, ", but only ",
         bytes.size() - kPrefixBytes, " bytes follow (is the file truncated?)");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes, header_bytes);
  const Json document = parse_json(header, cat(path, ": header"), {limits.max_header_bytes, 8});

  auto result = std::make_shared<Safetensors>();
  result->path_ = path;
  result->file_ = file;
  result->data_ = bytes.data() + kPrefixBytes + header_bytes;
  const auto data_bytes = static_cast<int64_t>(bytes.size() - kPrefixBytes - header_bytes);
  const JsonObject root(document, cat(path, ": header"));
  std::vector<std::pair<const Entry*, std::string_view>> order;
  for (const auto& [name, value] : document.items()) {
    if (name == kMetadataKey) {
      const JsonObject metadata(value, cat(root.where(), ": ", kMetadataKey));
      for (const auto& item : value.items()) result->metadata_[item.key()] = metadata.string(item.key());
      continue;
    }
    const JsonObject info(value, cat(path, ": tensor '", name, "'"));
    Entry entry;
    entry.dtype = info.string("dtype");
    const ElementType* type = find_element_type(entry.dtype);
    if (!type) fail(ErrorKind::kMalformed, info.where(), ": unknown dtype '", entry.dtype, "'");
    const auto [begin, end] = offsets(info, data_bytes);
    entry.dims = shape(info, type->bits, end - begin);
    entry.begin = static_cast<size_t>(begin);
    entry.end = static_cast<size_t>(end);
    const auto inserted = result->tensors_.emplace(name, std::move(entry)).first;
    order.emplace_back(&inserted->second, inserted->first);
  }
  std::ranges::sort(order, {}, [](const auto& item) { return std::pair(item.first->begin, item.first->end); });
  size_t reached = 0;
  for (const auto& [entry, name] : order) {
    if (entry->begin != reached)
      fail(ErrorKind::kMalformed, path, ": tensor '", name, "' begins at data byte ", entry->begin, ", ",
           entry->begin < reached ? "inside the tensor before it, which ends at " : "leaving a hole behind byte ",
           reached);
    reached = entry->end;
  }
  if (reached != static_cast<size_t>(data_bytes))
    fail(ErrorKind::kMalformed, path, ": ", data_bytes - static_cast<int64_t>(reached),
         " bytes behind the last tensor belong to nothing");
  return result;
}

Tensor Safetensors::tensor(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) fail(ErrorKind::kMalformed, path_, ": tensor '", name, "' is missing");
  const Entry& entry = it->second;
  const ElementType& type = *find_element_type(entry.dtype);
  const std::byte* data = data_ + entry.begin;
  if (!type.read_as)
    fail(ErrorKind::kMalformed, path_, ": tensor '", name, "' has dtype ", entry.dtype,
         ", which is not supported; convert it to F32, F16, BF16 or an integer type up to I64");
  if (entry.dtype == "F16") return widen(data, entry.dims, widen_half);
  if (entry.dtype == "BF16") return widen(data, entry.dims, widen_bfloat16);
  const int bytes = type.bits / 8;
  if (std::endian::native == std::endian::little && reinterpret_cast<uintptr_t>(data) % bytes == 0)
    return Tensor(*type.read_as, entry.dims, data, file_);
  Tensor copy(*type.read_as, entry.dims);
  copy_elements(copy.mutable_raw(), data, copy.count(), bytes);
  return copy;
}

std::vector<std::string> Safetensors::names() const {
  std::vector<std::string> result;
  for (const auto& [name, entry] : tensors_)
    if (!name.starts_with(kPadPrefix)) result.push_back(name);
  return result;
}

void write_safetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Text, not a document: where memory runs out, a document ends the process, for its destructor allocates.
  std::string text = "{";
  const auto quoted = [&](const std::string& name) {
    try {
      return Json(name).dump();
    } catch (const nlohmann::json::exception&) {
      fail(ErrorKind::kContract, path, ": a tensor name or a metadata entry is not valid UTF-8");
    }
  };
  const auto add = [&](const std::string& name, const std::string& value) {
    if (text.size() > 1) text += ',';
    text += quoted(name) + ':' + value;
  };
  const auto info = [](std::string_view dtype, const Dims& dims, int64_t begin, int64_t end) {
    return "{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + to_string(dims) +
           ",\"data_offsets\":" + to_string(Dims{begin, end}) + '}';
  };
  const auto padding = [](int64_t size) { return (kAlignment - size % kAlignment) % kAlignment; };
  std::set<std::string> seen{std::string(kMetadataKey)};
  if (!metadata.empty()) {
    std::string entries;
    for (const auto& [key, value] : metadata)
      entries += (entries.empty() ? "" : ",") + quoted(key) + ':' + quoted(value);
    add(std::string(kMetadataKey), '{' + entries + '}');
  }
  int64_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    const auto* type = std::ranges::find(kElementTypes, std::optional(tensor.type()), &ElementType::read_as);
    if (type == std::end(kElementTypes))
      fail(ErrorKind::kContract, path, ": tensor '", name, "': the format has no type ", dyadic::name(tensor.type()));
    if (name.starts_with(kPadPrefix) || !seen.insert(name).second)
      fail(ErrorKind::kContract, path, ": the tensor name '", name, "' is reserved or used twice");
    add(name, info(type->name, tensor.dims(), offset, offset + tensor.bytes()));
    offset += tensor.bytes();
    if (const int64_t pad = padding(offset); pad != 0 && i + 1 < tensors.size()) {
      add(std::string(kPadPrefix) + std::to_string(i), info("U8", {pad}, offset, offset + pad));
      offset += pad;
    }
  }
  text += '}';
  text.append(padding(kPrefixBytes + text.size()), ' ');
  AtomicFile file(path);
  char prefix[kPrefixBytes];
  for (size_t i = 0; i < kPrefixBytes; ++i) prefix[i] = static_cast<char>(uint64_t{text.size()} >> (8 * i));
  file.write(prefix, kPrefixBytes);
  file.write(text);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i].second;
    const int bytes = bits(tensor.type()) / 8;
    if (std::endian::native == std::endian::little || bytes == 1) {
      file.write(tensor.raw(), static_cast<size_t>(tensor.bytes()));
    } else {
      std::vector<std::byte> swapped(static_cast<size_t>(tensor.bytes()));
      copy_elements(swapped.data(), tensor.raw(), tensor.count(), bytes);
      file.write(swapped.data(), swapped.size());
    }
    if (i + 1 < tensors.size()) file.write(std::string(padding(tensor.bytes()), '\0'));
  }
  file.commit();
}

}  // namespace dyadic
