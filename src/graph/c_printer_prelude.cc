#include "graph/c_printer_writer.h"

namespace dyadic {

const char kCPrelude[] = R"(#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wunused-function"
#endif

/* Integers are two's complement and >> of a negative number is an arithmetic shift, as every C compiler does it. No
   function below overflows on the operands it is called with: that has been proven from the model. */

/* x / 2^k rounded: halves towards plus infinity, halves away from zero. */
static inline int32_t dyadic_shr32(int32_t x, int32_t k) { return k > 0 ? (x >> k) + ((x >> (k - 1)) & 1) : x; }
static inline int64_t dyadic_shr(int64_t x, int64_t k) { return k > 0 ? (x >> k) + ((x >> (k - 1)) & 1) : x; }
static inline int64_t dyadic_shr_away(int64_t x, int64_t k) { return x < 0 ? -dyadic_shr(-x, k) : dyadic_shr(x, k); }

/* x * m / 2^s rounded, halves towards plus infinity; the first with a product of 32 bits. */
static inline int32_t dyadic_mul_shift32(int32_t x, int32_t m, int32_t s) {
  return (int32_t)(x * m + (int32_t)(((uint32_t)1 << s) >> 1)) >> s;
}
static inline int64_t dyadic_mul_shift(int64_t x, int64_t m, int64_t s) {
  return (x * m + (((int64_t)1 << s) >> 1)) >> s;
}

/* floor(x / y) and x - y * floor(x / y) for y > 0. */
static inline int32_t dyadic_div32(int32_t x, int32_t y) { return x / y - ((x % y != 0) & (x < 0)); }
static inline int64_t dyadic_div(int64_t x, int64_t y) { return x / y - ((x % y != 0) & (x < 0)); }
static inline int32_t dyadic_rem32(int32_t x, int32_t y) { return x % y < 0 ? x % y + y : x % y; }
static inline int64_t dyadic_rem(int64_t x, int64_t y) { return x % y < 0 ? x % y + y : x % y; }

/* floor(log2 x), x > 0. */
static inline int dyadic_log2(uint64_t x) {
  int n = 0;
  int step;
  for (step = 32; step > 0; step /= 2)
    if (x >> step) {
      n += step;
      x >>= step;
    }
  return n;
}

/* floor(sqrt x), x >= 0: Newton's iteration from above. */
static inline int64_t dyadic_isqrt(int64_t x) {
  uint64_t r, next;
  if (x == 0) return 0;
  r = (uint64_t)1 << (dyadic_log2((uint64_t)x) / 2 + 1);
  while ((next = (r + (uint64_t)x / r) / 2) < r) r = next;
  return (int64_t)r;
}

/* The left shift that brings the leading one of x (of 1 for x = 0) to bit `top`, or to the bit below if only that is an
   even shift. */
static inline int dyadic_normalize(int64_t x, int top, int even) {
  const int k = top - dyadic_log2((uint64_t)(x > 0 ? x : 1));
  return k - (k & even);
}

/* Word index % 4 of Philox 4x32-10 (Salmon et al., SC 2011) at counter (index / 4, 0, step, stream). */
static inline uint32_t dyadic_random_bits(uint32_t seed_low, uint32_t seed_high, uint32_t stream, uint32_t step,
                                          uint32_t index) {
  uint32_t c0 = index / 4, c1 = 0, c2 = step, c3 = stream;
  int round;
  for (round = 0; round < 10; ++round) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ seed_low;
    c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ seed_high;
    c3 = (uint32_t)p0;
    seed_low += 0x9E3779B9u;
    seed_high += 0xBB67AE85u;
  }
  return index % 4 == 0 ? c0 : index % 4 == 1 ? c1 : index % 4 == 2 ? c2 : c3;
}
)";

}  // namespace dyadic
