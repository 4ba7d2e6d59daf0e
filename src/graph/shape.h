// Dimensions that may be symbolic: a factor times a product of symbols, e.g. 384, T, B*L.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace dyadic {

// The value of each symbol, e.g. {"T": 529, "B": 32, "L": 40}.
using Bindings = std::map<std::string, int64_t>;

struct Dim {
  int64_t factor = 1;
  std::vector<std::string> symbols;  // sorted, with repetition
  Dim() = default;
  Dim(int64_t value) : factor(value) {}                    // NOLINT: implicit on purpose, shapes are written as lists
  Dim(const char* symbol) : symbols{symbol} {}             // NOLINT
  Dim(std::string symbol) : symbols{std::move(symbol)} {}  // NOLINT
  bool is_constant() const { return symbols.empty(); }
  bool is_one() const { return symbols.empty() && factor == 1; }
  int64_t value(const Bindings& bindings) const;  // kContract if a symbol is unbound or the product exceeds 2^62
  bool operator==(const Dim&) const = default;
};
Dim operator*(const Dim& a, const Dim& b);
std::string to_string(const Dim& dim);  // "384", "T", "2*B*L"
Dim parse_dim(std::string_view text);   // kMalformed

using Shape = std::vector<Dim>;
Dim element_count(const Shape& shape);
std::string to_string(const Shape& shape);  // "[T,384]"
Shape parse_shape(std::string_view text);   // the inverse of to_string; kMalformed
Dims bind(const Shape& shape, const Bindings& bindings);
void bind_into(Dims& dims, const Shape& shape, const Bindings& bindings);  // without allocation if dims has the room
Shape to_shape(const Dims& dims);

// NumPy broadcasting; kContract if two dimensions are neither equal nor 1. A symbol equals only itself.
Shape broadcast(const Shape& a, const Shape& b);

// Matches a symbolic shape with actual dimensions: binds symbols that stand alone in a dimension, checks all others.
// kContract, naming `what`, if they disagree with each other or with earlier bindings.
void unify(const Shape& shape, const Dims& dims, Bindings& bindings, const std::string& what);

}  // namespace dyadic
