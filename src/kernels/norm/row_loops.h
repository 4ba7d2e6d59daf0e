// The row loops of a norm over Lanes, sixteen i32 of an instruction set (kernels/lanes_*.h).
#pragma once
#include "kernels/high_product.h"
#include "kernels/norm/norm.h"

namespace dyadic::norm {

template <class Lanes, class Code>
inline __attribute__((always_inline)) void sum_terms(const Term<Code>* terms, int count, Columns columns, int16_t* q) {
  HighProduct<Lanes> products[kMaxTables];
  Lanes m[kMaxTables];
  for (int j = 0; j < count; ++j) {
    products[j] = HighProduct<Lanes>::of(terms[j].ratio.high.shift);
    m[j] = Lanes::broadcast(terms[j].ratio.high.m);
  }
  const Lanes half = Lanes::broadcast(128), fraction = Lanes::broadcast(8);
  for (int64_t i = columns.begin; i < columns.end; i += kBlock) {
    Lanes sum = half;
    for (int j = 0; j < count; ++j) sum = sum + products[j](Lanes::load(terms[j].codes + i), m[j]);
    (sum >> fraction).store_saturated(q + i);
  }
}

template <class Lanes>
void add_terms(const Term<int16_t>* terms, Columns columns, int16_t* q) {
  sum_terms<Lanes>(terms, 2, columns, q);
}

template <class Lanes>
void embed_terms(const Term<int8_t>* terms, int count, Columns columns, int16_t* q) {
  sum_terms<Lanes>(terms, count, columns, q);
}

template <class Lanes>
void normalize(const int16_t* q, const RowScale& scale, Columns columns, int32_t* y) {
  const Lanes left = Lanes::broadcast(8 + scale.e), reciprocal = Lanes::broadcast(scale.reciprocal);
  const Lanes mu = Lanes::broadcast(static_cast<int32_t>(static_cast<uint32_t>(scale.mu) << scale.e));
  const Lanes add = Lanes::broadcast(1 << 8), right = Lanes::broadcast(9);  // 41 less the high half's 32
  for (int64_t i = columns.begin; i < columns.end; i += kBlock)
    ((mul_high((Lanes::load(q + i) << left) - mu, reciprocal) + add) >> right).store(y + i);
}

template <class Lanes>
void emit(const int32_t* y, const Output& output, Columns columns, std::byte* out) {
  const HighProduct<Lanes> product = HighProduct<Lanes>::of(output.high.shift);
  const Lanes fraction = Lanes::broadcast(8);
  const auto code = [&](int64_t i) {
    return (product(Lanes::load(y + i), Lanes::load(output.high.m + i)) + Lanes::load(output.high.beta + i)) >>
           fraction;
  };
  if (output.type == DataType::kI8)
    for (int64_t i = columns.begin; i < columns.end; i += kBlock)
      code(i).store_clamped(reinterpret_cast<int8_t*>(out) + i);
  else
    for (int64_t i = columns.begin; i < columns.end; i += kBlock)
      code(i).store_saturated(reinterpret_cast<int16_t*>(out) + i);
}

}  // namespace dyadic::norm
