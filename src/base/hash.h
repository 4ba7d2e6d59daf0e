// 64-bit FNV-1a: the hash of constants, bodies and layer outputs. Not cryptographic.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dyadic {

class Hash64 {
 public:
  void update(const void* data, size_t size) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < size; ++i) value_ = (value_ ^ p[i]) * 0x100000001b3ull;
  }
  void update(std::string_view text) { update(text.data(), text.size()); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325ull;
};

inline uint64_t hash64(const void* data, size_t size) {
  Hash64 h;
  h.update(data, size);
  return h.value();
}
inline uint64_t hash64(std::string_view text) { return hash64(text.data(), text.size()); }

// 16 lower-case hexadecimal digits.
std::string hex64(uint64_t value);

}  // namespace dyadic
