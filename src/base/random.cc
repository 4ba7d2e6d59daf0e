#include "base/random.h"

namespace dyadic {
namespace {

constexpr int kRounds = 10;
constexpr uint32_t kMultiplier[2] = {0xd2511f53, 0xcd9e8d57};
constexpr uint32_t kWeyl[2] = {0x9e3779b9, 0xbb67ae85};

constexpr uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
constexpr uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

}  // namespace

PhiloxCounter philox4x32(PhiloxCounter c, PhiloxKey key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t p0 = uint64_t{kMultiplier[0]} * c[0], p1 = uint64_t{kMultiplier[1]} * c[2];
    c = {high(p1) ^ c[1] ^ key[0], low(p1), high(p0) ^ c[3] ^ key[1], low(p0)};
    for (int i = 0; i < 2; ++i) key[i] += kWeyl[i];
  }
  return c;
}

uint32_t Random::operator()() {
  if (used_ == words_.size()) {
    words_ = philox4x32({low(blocks_), high(blocks_), low(stream_), high(stream_)}, {low(seed_), high(seed_)});
    ++blocks_;
    used_ = 0;
  }
  return words_[used_++];
}

uint64_t Random::next64() {
  const uint64_t lo = (*this)();
  return lo | uint64_t{(*this)()} << 32;
}

uint64_t Random::below(uint64_t bound) {
  const uint64_t excess = (0 - bound) % bound;  // 2^64 mod bound: the lowest `excess` words would favour small results
  uint64_t x = next64();
  while (x < excess) x = next64();
  return x % bound;
}

}  // namespace dyadic
