// What the tests of norms share: the definition of a row in wide integers, the comparison of every row, hard rows.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <vector>

#include "kernels/testing.h"

namespace dyadic::norm {

using Wide = __int128;

// x / 2^s, ties up.
inline int64_t rounded(Wide x, int s) { return static_cast<int64_t>((2 * x + (Wide{1} << s)) >> (s + 1)); }

// Mean and reciprocal deviation of a row, the variance from the deviations themselves.
struct Moments {
  int64_t mu;  // with 8 fraction bits
  int e = 0;   // the variance times 4^e is in [2^60, 2^62)
  Wide reciprocal = 0;

  explicit Moments(const std::vector<int64_t>& q) {
    const auto n = static_cast<int64_t>(q.size());
    int64_t total = 0;
    for (int64_t x : q) total += x;
    const int64_t twice = 512 * total + n;
    mu = twice / (2 * n) - (twice % (2 * n) < 0);
    Wide variance = 0;
    for (int64_t x : q) variance += Wide{256 * x - mu} * (256 * x - mu);
    if (variance == 0) return;
    while (variance << (2 * e) < Wide{1} << 60) ++e;
    const Wide v = variance << (2 * e);
    Wide root = Wide{1} << 31;
    for (Wide step = root; step; step /= 2)
      if ((root - step) * (root - step) > v) root -= step;
    while (root * root > v) --root;
    reciprocal = ((Wide{1} << 61) - 1) / root;
  }
};

inline int64_t clip(int64_t x, DataType type) {
  return type == DataType::kI8 ? std::clamp<int64_t>(x, -127, 127) : std::clamp<int64_t>(x, -32768, 32767);
}

using Threads = std::initializer_list<int>;

// Every row of `spec` that runs here and accepts the case gives `want`. The portable row accepts all; ordinary ratios
// (`all_serve`) every row must accept.
inline void check(const KernelSpec& spec, const std::vector<Tensor>& inputs, const std::vector<Tensor>& want,
                  bool all_serve, Threads thread_counts) {
  for (const KernelRow* row : testing::rows_of(spec.composite)) {
    if (row->isa > detected_isa()) continue;
    const std::string reason = row->reject(spec);
    if (!reason.empty()) {
      ASSERT_FALSE(all_serve || row->isa == Isa::kPortable) << row->name << ": " << reason;
      continue;
    }
    const std::unique_ptr<Kernel> kernel = row->make(spec);
    for (int threads : thread_counts) {
      const std::vector<Tensor> got = testing::run(*kernel, inputs, want, 1, threads);
      for (size_t j = 0; j < want.size(); ++j)
        for (int64_t i = 0; i < want[j].count(); ++i)
          ASSERT_EQ(got[j].at(i), want[j].at(i)) << row->name << ", " << threads << " threads, output " << j << ", row "
                                                 << i / want[j].dim(1) << ", column " << i % want[j].dim(1);
    }
  }
}

// Rows on which a layer norm is most likely to break.
inline std::vector<std::vector<int16_t>> hard_rows(int64_t n) {
  std::vector<std::vector<int16_t>> rows;
  auto one = [&](int first, int rest) {
    rows.emplace_back(n, static_cast<int16_t>(rest)).front() = static_cast<int16_t>(first);
  };
  auto alternating = [&](int even, int odd, int64_t period) {
    auto& row = rows.emplace_back(n);
    for (int64_t i = 0; i < n; ++i) row[i] = static_cast<int16_t>(i / period % 2 ? odd : even);
  };
  for (int v : {0, 1, -1, 7, 32767, -32768}) one(v, v);
  for (int v : {32767, -32768, 1, -1, 2}) one(v, 0);
  one(32767, -32768);
  one(-32768, 32767);
  one(32767, 32766);
  one(8, 7);
  for (int64_t period : {int64_t{1}, std::max<int64_t>(1, n / 2)}) {
    alternating(1, -1, period);
    alternating(32767, -32768, period);
    alternating(-32768, 32767, period);
  }
  auto& ramp = rows.emplace_back(n);
  for (int64_t i = 0; i < n; ++i) ramp[i] = static_cast<int16_t>(i);
  return rows;
}

inline constexpr int64_t kWidths[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  15,
                                      16, 17, 31, 32, 33, 63, 64, 65, 384, 768, 1024};

}  // namespace dyadic::norm
