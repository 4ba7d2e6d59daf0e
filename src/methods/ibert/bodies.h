// I-BERT's integer polynomials as graphs of core operations: Kim, Gholami, Yao, Mahoney, Keutzer, "I-BERT: Integer-only
// BERT Quantization", ICML 2021, arXiv:2101.01321.
//
// Each exists in two forms. Paper: floors of the constants and the published shifts. Refined: rounded constants, shifts
// that follow from the input's scale, and inputs too coarse for the polynomial moved to a finer grid first.
#pragma once
#include <cstdint>

#include "graph/bodies/bodies.h"
#include "tensor/encoding.h"

namespace dyadic::ibert {

enum class Form : uint8_t { kRefined, kPaper };

// i-GELU (algorithm 2): GELU(x) is about x/2 (1 + L(x / sqrt 2)), L(v) = sgn(v) (a (min(|v|, -b) + b)^2 + 1), of
// x = scale * q. kContract for a scale above 1638 or below 1e-8 (paper: 1e-4).
struct GeluConstants {
  int pre_shift = 0;     // of q inside L
  int64_t b = 0, k = 0;  // -b and 1/|a| in units of (finer scale / sqrt 2), and of its square
  int shift = 0;         // of L, to 16 bits
  int64_t one = 0;       // L = 1 after the shift
  double unit = 0;       // of the accumulator
  Form form = Form::kRefined;
};
GeluConstants gelu_constants(double scale, Form form);
// q i32, |q| <= largest <= 2^15 -> accumulator i32 or i64 in steps of constants.unit.
Var i_gelu(BodyBuilder& b, Var q, const GeluConstants& constants, int64_t largest);
// x -> y: one code of `in` to one of `out`, both with one scale and at most 16 bits.
Body i_gelu_body(const Encoding& in, const Encoding& out, Form form);

// i-exp (algorithm 3): exp(-scale * d) is about e / one, for a distance d >= 0. kContract for a scale outside 1e-7
// .. 1.
struct ExpConstants {
  int pre_shift = 0;              // of d
  int64_t ln2 = 0, b = 0, c = 0;  // of the finer scale
  int shift = 0;                  // refined: to 15 bits
  int64_t one = 0;
  Form form = Form::kRefined;
};
ExpConstants exp_constants(double scale, Form form);
// distance i32 in [0, 2^26] -> e i64 in [0, one].
Var i_exp(BodyBuilder& b, Var distance, const ExpConstants& constants);
// distance u8 [256] -> e u8 [256]: i_exp in units of 1/one.
Body i_exp_body(double scale, int64_t one, Form form);

// i-softmax over the last axis: scores i32 [R,N] in [-2^24, 2^24] and valid u8 [R,N] of 0 or 1 -> probabilities u8 or
// u16 [R,N] in steps of 1/(2^bits - 1), bits 8 or 16. Refined. Masked entries are 0, and so is a row without a valid
// one.
Body i_softmax_body(double scale, int bits);

// i-sqrt (algorithm 4): floor(sqrt n) of an i64 >= 0 by Newton's iteration from a power of two above the root.
Var i_sqrt(BodyBuilder& b, Var n);

// The layer norm's rows as published, without the shift that training calibrates: integer mean, i-sqrt, floors. y is in
// units of sqrt(n) / 2^30. A constant row gives 0.
Var paper_norm(BodyBuilder& b, Var q, int64_t n);

}  // namespace dyadic::ibert
