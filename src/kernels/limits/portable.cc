// Plain loops, as the compiler vectorises them for any CPU of this architecture.
#include <array>
#include <cstring>

#include "base/fixed_point.h"
#include "kernels/dot/dot.h"
#include "kernels/limits/limits.h"

namespace dyadic {

extern const LimitProbes kLimitsPortable;

namespace {

constexpr int kBytes = 1024, kRounds = 16;
constexpr int64_t K = 384, N = 16;  // of the dot products: 12 KiB of operands

// What the compiler must not know at compile time, or leave out because nobody reads it.
void opaque(void* p) { asm volatile("" : : "r"(p) : "memory"); }

void dot() {
  std::array<int16_t, K> a;  // widened once, as the portable kernels have them
  std::array<int16_t, N * K> b;
  std::array<int32_t, N> c;
  a.fill(3);
  b.fill(5);
  opaque(a.data());
  opaque(b.data());
  for (int round = 0; round < kRounds; ++round) {
    dot_s16s16_s32(1, N, K, a.data(), K, b.data(), K, c.data(), N);
    opaque(c.data());
  }
}

template <size_t kEntries>
void look_up() {
  std::array<uint8_t, kEntries> table;
  std::array<uint8_t, kBytes> codes;
  table.fill(7);
  codes.fill(1);
  opaque(table.data());
  for (int round = 0; round < kRounds; ++round) {
    opaque(codes.data());
    for (uint8_t& code : codes) code = table[code % kEntries];
  }
  opaque(codes.data());
}

void multiply_and_shift() {
  std::array<int32_t, kBytes> x;
  x.fill(123456789);
  int32_t m = 1 << 30;
  opaque(&m);
  for (int round = 0; round < kRounds; ++round) {
    opaque(x.data());
    for (int32_t& v : x) v = static_cast<int32_t>(mul_shift(v, m, 31));
  }
  opaque(x.data());
}

void read(const std::byte* data, int64_t bytes) {
  uint64_t sums[8] = {};
  for (const std::byte* end = data + bytes; data < end; data += sizeof sums) {
    uint64_t words[8];
    std::memcpy(words, data, sizeof words);
    for (int i = 0; i < 8; ++i) sums[i] |= words[i];
  }
  opaque(sums);
}

}  // namespace

const LimitProbes kLimitsPortable = {.isa = Isa::kPortable,
                                     .dot = {"plain loop", kRounds* N* K, dot},
                                     .lookup_16 = {"plain loop", int64_t{kRounds} * kBytes, look_up<16>},
                                     .lookup_256 = {"plain loop", int64_t{kRounds} * kBytes, look_up<256>},
                                     .mul_shift = {"plain loop", int64_t{kRounds} * kBytes, multiply_and_shift},
                                     .read = read};

}  // namespace dyadic
