#include "graph/shape.h"

#include <algorithm>
#include <charconv>

#include "base/status.h"

namespace dyadic {

int64_t Dim::value(const Bindings& bindings) const {
  int64_t v = factor;
  for (const auto& symbol : symbols) {
    const auto it = bindings.find(symbol);
    if (it == bindings.end())
      fail(ErrorKind::kContract, "dimension ", to_string(*this), ": symbol ", symbol, " has no value");
    if (__builtin_mul_overflow(v, it->second, &v) || v > (int64_t{1} << 62))
      fail(ErrorKind::kContract, "dimension ", to_string(*this), " is too large");
  }
  return v;
}

Dim operator*(const Dim& a, const Dim& b) {
  Dim r;
  if (__builtin_mul_overflow(a.factor, b.factor, &r.factor)) fail(ErrorKind::kContract, "a dimension is too large");
  r.symbols = a.symbols;
  r.symbols.insert(r.symbols.end(), b.symbols.begin(), b.symbols.end());
  std::sort(r.symbols.begin(), r.symbols.end());
  if (r.factor == 0) r.symbols.clear();
  return r;
}

std::string to_string(const Dim& dim) {
  if (dim.symbols.empty()) return std::to_string(dim.factor);
  std::string text = dim.factor == 1 ? "" : std::to_string(dim.factor);
  for (const auto& symbol : dim.symbols) text += (text.empty() ? "" : "*") + symbol;
  return text;
}

Dim parse_dim(std::string_view text) {
  constexpr size_t kMaxSymbols = 64;  // a product is sorted again at every factor
  Dim dim;
  if (text.empty()) fail(ErrorKind::kMalformed, "empty dimension");
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('*', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    int64_t number = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), number);
    const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
    if (!part.empty() && parsed.ec == std::errc() && parsed.ptr == part.data() + part.size() && number >= 0)
      dim = dim * Dim(number);
    else if (!part.empty() && std::isalpha(static_cast<unsigned char>(part[0])) &&
             std::all_of(part.begin(), part.end(), word))
      dim = dim * Dim(std::string(part));
    else
      fail(ErrorKind::kMalformed, "dimension '", text, "' is not a product of numbers and symbols");
    if (dim.symbols.size() > kMaxSymbols)
      fail(ErrorKind::kMalformed, "a dimension has more than ", kMaxSymbols, " symbols");
    begin = end + 1;
  }
  return dim;
}

Dim element_count(const Shape& shape) {
  Dim count(1);
  for (const auto& dim : shape) count = count * dim;
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + to_string(shape[i]);
  return text + "]";
}

Shape parse_shape(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']')
    fail(ErrorKind::kMalformed, "shape '", text, "' is not of the form [T,384]");
  Shape shape;
  std::string_view rest = text.substr(1, text.size() - 2);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    shape.push_back(parse_dim(rest.substr(0, comma)));
    if (comma == rest.npos) break;
    rest.remove_prefix(comma + 1);
    if (rest.empty()) fail(ErrorKind::kMalformed, "shape '", text, "' ends in a comma");
  }
  return shape;
}

Dims bind(const Shape& shape, const Bindings& bindings) {
  Dims dims;
  bind_into(dims, shape, bindings);
  return dims;
}

void bind_into(Dims& dims, const Shape& shape, const Bindings& bindings) {
  dims.clear();
  for (const auto& dim : shape) dims.push_back(dim.value(bindings));
}

Shape to_shape(const Dims& dims) { return Shape(dims.begin(), dims.end()); }

Shape broadcast(const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape r(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.size() < rank ? Dim(1) : a[i + a.size() - rank];
    const Dim y = i + b.size() < rank ? Dim(1) : b[i + b.size() - rank];
    if (!(x == y) && !x.is_one() && !y.is_one())
      fail(ErrorKind::kContract, "shapes ", to_string(a), " and ", to_string(b), " do not broadcast");
    r[i] = x.is_one() ? y : x;
  }
  return r;
}

void unify(const Shape& shape, const Dims& dims, Bindings& bindings, const std::string& what) {
  const auto mismatch = [&](const std::string& why) {
    fail(ErrorKind::kContract, what, ": expected shape ", to_string(shape), ", got ", to_string(dims), why);
  };
  if (shape.size() != dims.size()) mismatch("");
  for (size_t i = 0; i < dims.size(); ++i)
    if (shape[i].factor == 1 && shape[i].symbols.size() == 1) bindings.emplace(shape[i].symbols[0], dims[i]);
  for (size_t i = 0; i < dims.size(); ++i)
    if (shape[i].value(bindings) != dims[i])
      mismatch(shape[i].is_constant() ? "" : cat(" (", to_string(shape[i]), " is ", shape[i].value(bindings), ")"));
}

}  // namespace dyadic
