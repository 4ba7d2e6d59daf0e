// Random numbers that are the same on every machine: Philox 4x32-10, a counter-based generator
// (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once
#include <array>
#include <cstdint>

namespace dyadic {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

// The block of four words at one counter: a pure function, so any part of a stream can be computed by itself.
PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key);

// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every input bit reaches every output bit; one to one.
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// One stream of words: the key is the seed, the upper half of the counter the stream, the lower half counts blocks from
// 0. Satisfies UniformRandomBitGenerator, but the distributions of <random> differ between libraries: use below().
class Random {
 public:
  using result_type = uint32_t;
  explicit Random(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}
  static constexpr uint32_t min() { return 0; }
  static constexpr uint32_t max() { return UINT32_MAX; }
  uint32_t operator()();
  uint64_t next64();
  // Uniform over [0, bound) without bias; bound > 0.
  uint64_t below(uint64_t bound);

 private:
  uint64_t seed_, stream_, blocks_ = 0;
  PhiloxCounter words_{};
  unsigned used_ = 4;
};

}  // namespace dyadic
