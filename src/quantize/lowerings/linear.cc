// Gemm (several of one input are one composite) and the element-wise chain behind it: bias, requantize, class tables.
#include <algorithm>
#include <cmath>
#include <span>

#include "base/status.h"
#include "quantize/lowering.h"
#include "quantize/ratio.h"
#include "quantize/rewrite.h"
#include "quantize/unary.h"

namespace dyadic {
namespace {

bool is_product(const Graph& real, const Node& node) {
  return node.op == "Gemm" && node.integer("transB", 0) == 1 && real.value(node.inputs[1]).is_constant() &&
         !real.value(node.inputs[0]).is_constant() &&
         (node.inputs.size() < 3 || real.value(node.inputs[2]).is_constant());
}

// The only consumer of a node's result, or -1.
int only_consumer(const Graph& real, int node) {
  const ValueId out = real.nodes[node].outputs[0];
  const auto consumers = real.consumers(out);
  return consumers.size() == 1 && !real.is_output(out) ? consumers[0] : -1;
}

// The unary function of a chain, among constant Muls.
int function_of(const Graph& real, const std::vector<int>& chain) {
  for (int n : chain)
    if (unary_function(real.nodes[n])) return n;
  return -1;
}

double factor_at(const Graph& real, int mul, int64_t channel) {
  const Tensor& factors = real.value(real.nodes[mul].inputs[1]).constant;
  return factors.data<float>()[factors.count() == 1 ? 0 : channel];
}

// Product of the chain's constant factors before and behind its function, for one channel.
struct Factors {
  double before = 1, behind = 1;
  bool operator==(const Factors&) const = default;
};
Factors factors_at(const Graph& real, const std::vector<int>& chain, int function, int64_t channel) {
  Factors f;
  bool behind = false;
  for (int n : chain) {
    if (n == function)
      behind = true;
    else
      (behind ? f.behind : f.before) *= factor_at(real, n, channel);
  }
  return f;
}

std::string joined_name(const Graph& real, const std::vector<int>& products) {
  std::string name = real.nodes[products[0]].name;
  for (size_t i = 1; i < products.size(); ++i) {
    const std::string& other = real.nodes[products[i]].name;
    const auto slash = other.rfind('/');
    name += "+" + (slash == std::string::npos ? other : other.substr(slash + 1));
  }
  return name;
}

// Adds the recipe's correction to the biases of a product's channels. The accumulator is linear in the codes x, so that
// its mean follows from theirs; a channel's accumulator counts in steps of ratio * y_scale.
void correct_bias(const LoweringContext& context, int product, double y_scale, std::span<const double> ratio,
                  const std::vector<double>& x_mean, std::span<const int8_t> weight, std::span<int32_t> bias) {
  const size_t k = x_mean.size();
  std::vector<double> mean;
  for (size_t c = 0; c < bias.size(); ++c) {
    double sum = bias[c];
    for (size_t i = 0; i < k; ++i) sum += weight[c * k + i] * x_mean[i];
    mean.push_back(sum * ratio[c] * y_scale);
  }
  const std::vector<double> correction = context.bias_shift(product, mean);
  for (size_t c = 0; c < bias.size(); ++c) {
    const double corrected = bias[c] + std::round(correction[c] / (ratio[c] * y_scale));
    if (!(std::fabs(corrected) <= 0x1p30))
      fail(ErrorKind::kContract, context.real.nodes[product].name, ": corrected bias of channel ", c,
           " does not fit 32 bits");
    bias[c] = static_cast<int32_t>(corrected);
  }
}

// A product's weight, and how its results leave.
struct Product {
  int node;
  const Tensor* weight;  // [n, k]
  const float* bias;     // may be null
  Encoding encoding;     // of the weight
  const Encoding* code;  // what the accumulator becomes
  double ratio;          // of a channel's requantization, if its weight's scale were 1
};

// Lets the scales of weights grow until every channel's ratio is m / 2^s with one s for all and m < 2^bits. False, and
// nothing changed, if there is no such s in 1..62.
bool round_scales_up(std::vector<Product>& products, int bits) {
  const auto is_zero = [](const Product& p, size_t channel) {
    const size_t size = p.weight->count() / p.encoding.scale.size();
    const auto row = p.weight->span<float>().subspan(channel * size, size);
    return std::all_of(row.begin(), row.end(), [](float x) { return x == 0; });
  };
  double largest = 0;  // without channels of zeros, whose scales mean nothing
  for (const Product& p : products)
    for (size_t c = 0; c < p.encoding.scale.size(); ++c)
      if (!is_zero(p, c)) largest = std::max(largest, p.encoding.scale[c] * p.ratio);
  if (!(largest >= std::ldexp(1, bits - 62) && largest < std::ldexp(1, bits - 2))) return false;
  double grid = std::ldexp(1, std::ilogb(largest) + 1 - bits);
  if (std::ceil(largest / grid) * grid == std::ldexp(grid, bits)) grid *= 2;
  for (Product& p : products)
    for (size_t c = 0; c < p.encoding.scale.size(); ++c) {
      const double ratio = is_zero(p, c) ? largest : p.encoding.scale[c] * p.ratio;
      p.encoding.scale[c] = std::ceil(ratio / grid) * grid / p.ratio;
    }
  return true;
}

}  // namespace

std::optional<Region> match_linear(const Graph& real, int node) {
  if (!is_product(real, real.nodes[node])) return std::nullopt;
  Region region;
  region.composite = "linear";
  std::vector<int> products, chain;
  for (int n : real.consumers(real.nodes[node].inputs[0]))
    if (is_product(real, real.nodes[n]) && real.nodes[n].inputs[0] == real.nodes[node].inputs[0]) products.push_back(n);
  for (int at = node;;) {
    at = only_consumer(real, at);
    if (at < 0 || !(unary_function(real.nodes[at]) || is_channel_mul(real, real.nodes[at]))) break;
    if (unary_function(real.nodes[at]) && function_of(real, chain) >= 0) break;
    chain.push_back(at);
  }
  if (function_of(real, chain) < 0) chain.clear();
  // A product with a function behind it stands alone; one with plain results joins its siblings.
  const auto has_chain = [&](int p) {
    const int next = only_consumer(real, p);
    return next >= 0 && (unary_function(real.nodes[next]) || is_channel_mul(real, real.nodes[next]));
  };
  if (!chain.empty())
    products = {node};
  else
    std::erase_if(products, [&](int p) { return p != node && has_chain(p); });
  region.parts["product"] = products;
  region.parts["chain"] = chain;
  region.name = joined_name(real, products);
  region.nodes = products;
  region.nodes.insert(region.nodes.end(), chain.begin(), chain.end());
  return region;
}

std::vector<Wish> wishes_linear(const Graph& real, const Region& region) {
  std::vector<Wish> wishes;
  for (int p : region.part("product")) wishes.push_back({real.nodes[p].inputs[0], p, "input", {}});
  const auto& chain = region.part("chain");
  if (const int function = function_of(real, chain); function >= 0) {
    const ValueId h = real.nodes[chain[0]].inputs[0];
    Wish inner{h, function, "input", {}};
    const double low = low_saturation(real.nodes[function]);
    const int64_t n = real.value(real.nodes[region.only("product")].inputs[1]).constant.dim(0);
    if (std::isfinite(low))
      for (int64_t c = 0; c < n; ++c) {
        const double before = factors_at(real, chain, function, c).before;
        inner.clip_low.push_back(static_cast<float>(before > 0 ? low / before : -HUGE_VAL));
      }
    wishes.push_back(std::move(inner));
  }
  return wishes;
}

void lower_linear(LoweringContext& context, const Region& region) {
  const Graph& real = context.real;
  const auto& products = region.part("product");
  const auto& chain = region.part("chain");
  const int first = products[0];
  const ValueId x = real.nodes[first].inputs[0];
  for (int p : products)
    if (context.answer(x, p, "input") != context.answer(x, first, "input"))
      fail(ErrorKind::kContract, "products of one input, ", region.name, ", must wish one encoding of it");
  const Encoding& x_encoding = context.encoding(x, first, "input");
  const double x_scale = tensor_scale(x_encoding, region.name);
  if (x_encoding.bits > 8)
    fail(ErrorKind::kContract, region.name, ": encode.input has ", x_encoding.bits, " bits; a product takes at most 8");

  const int64_t k = real.value(real.nodes[first].inputs[1]).constant.dim(1);
  const int function = function_of(real, chain);
  LinearShape shape;
  shape.in = k;
  shape.epilogue.push_back({StageKind::kBias, DataType::kI32, range_of(DataType::kI32), 0});

  // Output channels in order: the real result each belongs to, its code's scale and zero point.
  std::vector<double> ratio, bound;
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<ValueId> outputs;
  double product_bound = 0;
  const bool corrected = std::any_of(products.begin(), products.end(), [&](int p) { return context.corrects_bias(p); });
  const std::vector<double> x_mean =
      corrected ? context.codes->mean(context.input(x, first, "input")) : std::vector<double>();
  DataType out_type = DataType::kI8;
  Interval out_codes{-127, 127};
  int64_t out_zero = 0;
  int multiplier_bits = 2;  // the widest that a product wants
  std::vector<Product> weights;
  for (int p : products) {
    const Node& node = real.nodes[p];
    Product product{p, &real.value(node.inputs[1]).constant, nullptr, {}, nullptr, 0};
    if (node.inputs.size() > 2) product.bias = real.value(node.inputs[2]).constant.data<float>();
    product.encoding = context.weight_encoding(p, "weight", *product.weight);
    multiplier_bits = std::max(multiplier_bits, context.multiplier_bits(p));
    if (product.encoding.bits > 8)
      fail(ErrorKind::kContract, node.name, ": encode.weight has ", product.encoding.bits, " bits; at most 8");
    for (int64_t zero : product.encoding.zero_point)
      if (zero != 0) fail(ErrorKind::kContract, node.name, ": encode.weight must be symmetric");
    const auto result_edges = [&] {
      if (function < 0) return context.edges(node.outputs[0]);
      return context.edges(real.nodes[chain.back()].outputs[0]);
    }();
    if (result_edges.empty()) fail(ErrorKind::kContract, node.name, ": nothing wishes an encoding of its result");
    if (result_edges.size() > 1)
      fail(ErrorKind::kContract, node.name, ": its result is wished in ", result_edges.size(),
           " encodings; one is supported");
    product.code = function < 0 ? &result_edges[0]->encoding
                                : &context.encoding(real.nodes[chain[0]].inputs[0], function, "input");
    product.ratio = x_scale / tensor_scale(*product.code, node.name);
    const Encoding& y = *product.code;
    const bool same = p == first || (out_type == y.storage && out_codes == y.codes && out_zero == y.zero_point[0]);
    if (!same) fail(ErrorKind::kContract, region.name, ": results of one linear must share type, range and zero point");
    out_type = y.storage;
    out_codes = y.codes;
    out_zero = y.zero_point[0];
    // The bias must fit the accumulator: at most 2^24 of its steps.
    auto& scale = product.encoding.scale;
    for (size_t c = 0; product.bias && scale.size() > 1 && c < scale.size(); ++c)
      scale[c] = std::max(scale[c], std::fabs(product.bias[c]) / (x_scale * 0x1p24));
    weights.push_back(std::move(product));
  }
  if (multiplier_bits < 31 && !round_scales_up(weights, multiplier_bits)) multiplier_bits = 31;

  for (const auto& [p, matrix, b, w_encoding, y, unit_ratio] : weights) {
    const Node& node = real.nodes[p];
    const Tensor& w = *matrix;
    const int64_t n = w.dim(0);
    const double y_scale = tensor_scale(*y, node.name);
    const auto code_of = context.weight_code(p, "weight", w_encoding);
    std::vector<double> weight_scale, bias_scale;
    std::vector<int64_t> bias_zero;
    for (int64_t c = 0; c < n; ++c) {
      const double scale = w_encoding.scale[w_encoding.scale.size() == 1 ? 0 : c];
      int64_t row_sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const int64_t code = code_of(w.data<float>()[c * k + i] / scale);
        weight.push_back(static_cast<int8_t>(code));
        row_sum += code;
        magnitude += std::abs(code);
      }
      const double bias_code = b ? std::round(b[c] / (x_scale * scale)) : 0;
      if (!(std::fabs(bias_code) <= 0x1p30))
        fail(ErrorKind::kContract, node.name, ": bias of channel ", c, " does not fit 32 bits");
      bias.push_back(static_cast<int32_t>(static_cast<int64_t>(bias_code) - x_encoding.zero_point[0] * row_sum));
      weight_scale.push_back(scale);
      bias_scale.push_back(x_scale * scale);
      bias_zero.push_back(-x_encoding.zero_point[0] * row_sum);
      ratio.push_back(x_scale * scale / y_scale);
      const double accumulator = static_cast<double>(magnitude) * 127 + std::fabs(bias_code);
      product_bound = std::max(product_bound, 0.5 + 0.5 * ratio.back() + accumulator * ratio.back() * 0x1p-31);
    }
    if (context.provenance) {
      auto& coded = context.provenance->coded[region.name];
      coded[node.inputs[1]] = {region.name + "/weight", shape.out, std::move(weight_scale), {}};
      if (b) coded[node.inputs[2]] = {region.name + "/bias", shape.out, std::move(bias_scale), std::move(bias_zero)};
    }
    if (context.corrects_bias(p)) {
      correct_bias(context, p, y_scale, std::span(ratio).last(static_cast<size_t>(n)), x_mean,
                   std::span(weight).last(static_cast<size_t>(n * k)), std::span(bias).last(static_cast<size_t>(n)));
    }
    shape.out += n;
    shape.splits.push_back(n);
  }

  const CommonShift requantize = encode_ratios(ratio, region.name, multiplier_bits);
  shape.epilogue.push_back({StageKind::kRequantize, out_type, out_codes, out_zero});
  const std::string name = region.name + "/";
  std::vector<ValueId> inputs = {context.input(x, first, "input"),
                                 context.constant(name + "weight", Tensor::from<int8_t>({shape.out, k}, weight)),
                                 context.constant(name + "bias", Tensor::from<int32_t>({shape.out}, bias)),
                                 context.constant(name + "m", multiplier_tensor(requantize.m)),
                                 context.constant(name + "s", shift_tensor({requantize.s}))};
  if (function < 0) {
    for (int p : products) {
      Edge* edge = context.edges(real.nodes[p].outputs[0])[0];
      edge->core = context.define(real.nodes[p].outputs[0], out_type, edge->encoding);
      outputs.push_back(edge->core);
      bound.push_back(product_bound);
    }
  } else {
    if (out_type != DataType::kI8)
      fail(ErrorKind::kContract, real.nodes[function].name,
           ": encode.input must have at most 8 bits, so that it is a table");
    const auto& approximation = context.answers(function).approximate;
    const UnaryPart* part = approximation ? context.registry.unary(approximation->name) : nullptr;
    if (!part || !part->ops.count(real.nodes[function].op))
      fail(ErrorKind::kContract, "the recipe gives no approximation of ", real.nodes[function].op, " for node ",
           real.nodes[function].name);
    Edge* edge = context.edges(real.nodes[chain.back()].outputs[0])[0];
    const Encoding& y = edge->encoding;
    if (y.storage != DataType::kI8)
      fail(ErrorKind::kContract, real.nodes[function].name, ": its result must have at most 8 bits");
    const double in_scale =
        tensor_scale(context.encoding(real.nodes[chain[0]].inputs[0], function, "input"), region.name);
    const double out_scale = tensor_scale(y, region.name);
    std::vector<int8_t> tables;
    std::vector<int32_t> ends;
    Factors current;
    double slope_bound = 0, table_error = 0;  // in steps of the result, of a step of the input
    for (int64_t c = 0; c < shape.out; ++c) {
      const Factors f = factors_at(real, chain, function, c);
      if (c > 0 && f == current) {
        ++ends.back();
        continue;
      }
      current = f;
      if (!(f.behind > 0))
        fail(ErrorKind::kContract, region.name, ": a factor behind ", real.nodes[function].op, " is not positive");
      UnaryRequest request;
      request.node = &real.nodes[function];
      request.function = *unary_function(real.nodes[function]);
      request.in_scale = in_scale * f.before;
      request.in_zero = out_zero;
      request.out_scale = out_scale / f.behind;
      request.out_zero = y.zero_point[0];
      request.out_codes = y.codes;
      const auto table = part->table(*approximation, request);
      DYADIC_CHECK(table.size() == 256);
      if (context.provenance) {
        auto& entries = context.provenance->unrounded[name + "tables"];
        const auto exact = unrounded_table(*part, *approximation, request);
        entries.insert(entries.end(), exact.begin(), exact.end());
      }
      tables.insert(tables.end(), table.begin(), table.end());
      ends.push_back(static_cast<int32_t>(c + 1));
      const auto exact = [&](int code) {
        const double x = request.in_scale * static_cast<double>(code - request.in_zero);
        return std::clamp(request.function(x) / request.out_scale + static_cast<double>(request.out_zero),
                          static_cast<double>(y.codes.lo), static_cast<double>(y.codes.hi));
      };
      for (int code = -127; code <= 127; ++code) {
        slope_bound = std::max(slope_bound, std::fabs(exact(code) - exact(code - 1)));
        table_error = std::max(table_error, std::fabs(table[code + 128] - exact(code)));
      }
    }
    shape.classes = static_cast<int64_t>(ends.size());
    shape.epilogue.push_back({StageKind::kTable, DataType::kI8, y.codes, 0});
    inputs.push_back(context.constant(name + "tables", Tensor::from<int8_t>({shape.classes, 256}, tables)));
    inputs.push_back(context.constant(name + "ends", Tensor::from<int32_t>({shape.classes}, ends)));
    edge->core = context.define(real.nodes[chain.back()].outputs[0], DataType::kI8, y);
    outputs.push_back(edge->core);
    bound.push_back(table_error + product_bound * slope_bound);
  }
  Node& node = context.emit(region, linear_body(shape), std::move(inputs), std::move(outputs), std::move(bound));
  node.attributes["epilogue"] = to_string(shape.epilogue);
  node.attributes["splits"] = shape.splits;
  node.attributes["in"] = shape.in;
  node.attributes["out"] = shape.out;
}

}  // namespace dyadic
