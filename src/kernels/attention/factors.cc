// Tables that are products: rounded exponentials, whatever their step, come from 16 coarse and 16 fine words.
#include <algorithm>

#include "kernels/attention/attention.h"

namespace dyadic::attention {
namespace {

int64_t product(int64_t coarse, int64_t fine) { return ((coarse * fine >> 16) + 128) >> 8; }

// The middle of what x may be, so that its products with the 16 words y are the entries table[stride * j]; where
// nothing is right for all, the middle of what is least wrong.
uint16_t middle(const uint8_t* table, int stride, const uint16_t* y) {
  int64_t lo = 0, hi = 65535;
  for (int j = 0; j < 16; ++j) {
    if (y[j] == 0) continue;
    const int64_t entry = table[stride * j] * int64_t{256};
    lo = std::max(lo, ((std::max<int64_t>(0, entry - 128) << 16) + y[j] - 1) / y[j]);
    hi = std::min(hi, (((entry + 128) << 16) - 1) / y[j]);
  }
  return static_cast<uint16_t>(std::clamp<int64_t>((lo + hi) / 2, 0, 65535));
}

bool is_exact(const TableFactors& f, const uint8_t* table) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j)
      if (product(f.coarse[i], f.fine[j]) != table[16 * i + j]) return false;
  return true;
}

}  // namespace

std::optional<TableFactors> factor(const uint8_t* table) {
  if (table[0] == 0) return std::nullopt;
  TableFactors f;
  for (int j = 0; j < 16; ++j)
    f.fine[j] = static_cast<uint16_t>(std::min(65535, (65536 * table[j] + table[0] / 2) / table[0]));
  // Enough for one * exp(-d / steps), rounded, with steps of 1..64 and every `one` (a test).
  for (int round = 0; round < 16; ++round) {
    for (int i = 0; i < 16; ++i) f.coarse[i] = middle(table + 16 * i, 1, f.fine);
    for (int j = 0; j < 16; ++j) f.fine[j] = middle(table + j, 16, f.coarse);
    if (is_exact(f, table)) return f;
  }
  return std::nullopt;
}

}  // namespace dyadic::attention
