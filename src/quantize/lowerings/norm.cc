// LayerNormalization of a residual sum (add_norm) or of a sum of table rows (embed_norm), with every output that
// consumers wish.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/status.h"
#include "quantize/lowering.h"
#include "quantize/ratio.h"
#include "quantize/rewrite.h"

namespace dyadic {
namespace {

// The constant per-channel Muls that read the norm's result: each is an output of the composite.
std::vector<int> channel_muls(const Graph& real, ValueId y) {
  std::vector<int> muls;
  for (int c : real.consumers(y)) {
    const Node& node = real.nodes[c];
    if (is_channel_mul(real, node) && node.inputs[0] == y) muls.push_back(c);
  }
  return muls;
}

Region norm_region(const Graph& real, int norm, const std::string& composite) {
  Region region;
  region.composite = composite;
  region.name = real.nodes[norm].name;
  region.parts["norm"] = {norm};
  region.parts["mul"] = channel_muls(real, real.nodes[norm].outputs[0]);
  region.nodes = region.parts["mul"];
  region.nodes.push_back(norm);
  return region;
}

bool constant_affine(const Graph& real, const Node& norm) {
  return norm.inputs.size() == 3 && real.value(norm.inputs[1]).is_constant() &&
         real.value(norm.inputs[2]).is_constant() && norm.integer("axis", -1) == -1;
}

// Whether one node alone needs the value, so that a composite may keep it inside.
bool read_once(const Graph& real, ValueId value) { return real.consumers(value).size() == 1 && !real.is_output(value); }

// Gathers of constant tables under a tree of Adds; false if a leaf is something else.
bool collect_gathers(const Graph& real, ValueId value, std::vector<int>& gathers, std::vector<int>& adds) {
  const int p = real.producer(value);
  if (p < 0 || !read_once(real, value)) return false;
  const Node& node = real.nodes[p];
  if (node.op == "Gather" && real.value(node.inputs[0]).is_constant() && node.integer("axis", 0) == 0) {
    gathers.push_back(p);
    return true;
  }
  if (node.op != "Add" || node.inputs[0] == node.inputs[1]) return false;
  adds.push_back(p);
  return collect_gathers(real, node.inputs[0], gathers, adds) && collect_gathers(real, node.inputs[1], gathers, adds);
}

// A wished result: code = (gain * normalised + offset) / scale + zero point, gain and offset of each channel.
struct NormResult {
  ValueId value;
  Edge* edge;
  std::string name;  // of its parameters
  std::vector<double> gain, offset;
  double scale;
  DataType type() const { return edge->encoding.storage; }
  double zero() const { return static_cast<double>(edge->encoding.zero_point[0]); }
  double largest_gain() const {  // in codes
    double largest = 0;
    for (double g : gain) largest = std::max(largest, std::fabs(g) / scale);
    return largest;
  }
};

// Every wished output, with gamma, beta and the migrating factor in its gains and offsets.
std::vector<NormResult> results_of(LoweringContext& context, const Region& region) {
  const Graph& real = context.real;
  const Node& norm = real.nodes[region.only("norm")];
  const auto gamma = real.value(norm.inputs[1]).constant.span<float>();
  const auto beta = real.value(norm.inputs[2]).constant.span<float>();
  std::vector<std::pair<ValueId, int>> values = {{norm.outputs[0], -1}};
  for (int mul : region.part("mul")) values.emplace_back(real.nodes[mul].outputs[0], mul);
  std::vector<NormResult> results;
  for (const auto& [value, mul] : values)
    for (Edge* edge : context.edges(value)) {
      const Encoding& e = edge->encoding;
      if (e.bits != 16 && e.storage != DataType::kI8)
        fail(ErrorKind::kContract, region.name, ": a norm's result has at most 8 or exactly 16 bits, not ", e.bits);
      NormResult result{value, edge, cat(region.name, "/out", results.size()), {}, {}, tensor_scale(e, region.name)};
      for (size_t c = 0; c < gamma.size(); ++c) {
        double factor = 1;
        if (mul >= 0) {
          const Tensor& factors = real.value(real.nodes[mul].inputs[1]).constant;
          factor = factors.data<float>()[factors.count() == 1 ? 0 : c];
        }
        result.gain.push_back(double{gamma[c]} * factor);
        result.offset.push_back(double{beta[c]} * factor);
      }
      results.push_back(std::move(result));
    }
  if (results.empty()) fail(ErrorKind::kContract, region.name, ": nothing wishes an encoding of its result");
  return results;
}

struct NormEmission {
  NormOutputs types;
  std::vector<ValueId> inputs, outputs;  // parameters and results of the outputs
  std::vector<double> bound;
};

void define_result(LoweringContext& context, const NormResult& result, double bound, NormEmission& emission) {
  emission.types.push_back(result.type());
  result.edge->core = context.define(result.value, result.type(), result.edge->encoding,
                                     result.type() == DataType::kI8 ? ":i8" : ":i16");
  emission.outputs.push_back(result.edge->core);
  emission.bound.push_back(bound);
}

// What an error of the sum, in steps, does to a normalised z: centring at most doubles it, and the deviation changes by
// it: (2 + |z|) errors / deviation, |z| <= sqrt(n - 1). Bounds are of rows whose standard deviation is 1/64 of what the
// codes of a sum hold.
double error_of_norm(double sum_error, int64_t n, double largest_sum) {
  return sum_error * (2 + std::sqrt(static_cast<double>(n) - 1)) / (largest_sum / 64);
}

// Bits of a table's multipliers: more would hardly show in a sum. Ratios that leave them take 31.
constexpr int kQ15TableBits = 17;

// Steps of the sum by which the codes of a sum of so many terms, or their mean, are off.
double sum_rounding(size_t terms) { return 0.5 + (static_cast<double>(terms) + 1) * 0x1p-9; }

// Offsets have 8 fraction bits. `sum_error` bounds what separates the sum from the exact one, in steps of the sum.
NormEmission emit_outputs(LoweringContext& context, const Region& region, double unit, int bits, double sum_error) {
  NormEmission emission;
  for (const NormResult& result : results_of(context, region)) {
    const auto n = static_cast<int64_t>(result.gain.size());
    std::vector<double> ratio;
    std::vector<int32_t> offset;
    for (int64_t c = 0; c < n; ++c) {
      ratio.push_back(result.gain[c] * unit / result.scale * 256);
      const double code = std::round((result.offset[c] / result.scale + result.zero()) * 256);
      if (!(std::fabs(code) < 0x1p30))
        fail(ErrorKind::kContract, region.name, ": beta of channel ", c, " does not fit");
      offset.push_back(static_cast<int32_t>(code));
    }
    const double most =
        *std::max_element(ratio.begin(), ratio.end(), [](double a, double b) { return std::fabs(a) < std::fabs(b); });
    const CommonShift m = encode_ratios(ratio, result.name, std::fabs(most) < std::ldexp(1, bits - 2) ? bits : 31);
    emission.inputs.push_back(context.constant(result.name + "_m", multiplier_tensor(m.m)));
    emission.inputs.push_back(context.constant(result.name + "_s", shift_tensor({m.s})));
    emission.inputs.push_back(context.constant(result.name + "_beta", Tensor::from<int32_t>({n}, offset)));
    // y is off by less than a unit, a multiplier by at most half of one, what follows rounds by 1/2 and 2/512.
    const double multiplier = std::sqrt(static_cast<double>(n)) / unit * std::ldexp(0.5, -m.s) / 256;
    const double normalised = error_of_norm(sum_error, n, 32768) + unit;
    define_result(context, result, 0.504 + result.largest_gain() * normalised + multiplier, emission);
  }
  return emission;
}

// The same in words: each output has as many fraction bits, at most 8, as its multipliers and sums leave in a word; an
// i16 output has none, and may be in larger steps that are shifted left.
NormEmission emit_q15_outputs(LoweringContext& context, const Region& region, double sum_error) {
  NormEmission emission;
  for (const NormResult& result : results_of(context, region)) {
    const auto n = static_cast<int64_t>(result.gain.size());
    const double unit = std::ldexp(std::sqrt(static_cast<double>(n)), -kQ15NormFraction);
    const bool bytes = result.type() == DataType::kI8;
    std::vector<int16_t> m(result.gain.size()), beta(result.gain.size());
    const auto encode = [&](int fraction) {
      for (int64_t c = 0; c < n; ++c) {
        const double gain = std::round(std::ldexp(result.gain[c] * unit / result.scale, 15 + fraction));
        const double code = std::round(std::ldexp(result.offset[c] / result.scale + result.zero(), fraction));
        const double half = fraction > 0 ? std::ldexp(0.5, fraction) : 0;
        if (!(std::fabs(gain) <= 32767 && std::fabs(gain) / 2 + std::fabs(code) + half + 1 <= 32767)) return false;
        m[c] = static_cast<int16_t>(gain);
        beta[c] = static_cast<int16_t>(code);
      }
      return true;
    };
    int fraction = bytes ? 8 : 0;
    const int least = bytes ? 0 : -8;
    while (fraction >= least && !encode(fraction)) --fraction;
    if (fraction < least)
      fail(ErrorKind::kContract, region.name, ": gamma or beta does not fit a word (lane_bits = 16) in steps of ",
           result.scale);
    emission.inputs.push_back(context.constant(result.name + "_m", Tensor::from<int16_t>({n}, m)));
    emission.inputs.push_back(context.constant(result.name + "_beta", Tensor::from<int16_t>({n}, beta)));
    emission.inputs.push_back(context.constant(result.name + "_shift", shift_tensor({std::abs(fraction)})));
    // y is off by less than two units: two roundings, and a reciprocal of 15 bits that is rounded down. The product and
    // beta round by half a fraction each, and half a unit of a multiplier is a quarter at the largest y.
    const double normalised = error_of_norm(sum_error, n, kLargestQ15Sum) + 2 * unit;
    const double rounding = (bytes ? 0.5 : 0) + std::ldexp(1.25, -fraction);
    define_result(context, result, rounding + result.largest_gain() * normalised, emission);
  }
  return emission;
}

const NormPart& norm_part(LoweringContext& context, int norm) {
  const auto& approximation = context.answers(norm).approximate;
  const NormPart* part = approximation ? context.registry.norm(approximation->name) : nullptr;
  if (!part)
    fail(ErrorKind::kContract, "the recipe gives no approximation of LayerNormalization for node ",
         context.real.nodes[norm].name);
  return *part;
}

bool in_q15(LoweringContext& context, int norm) {
  return norm_part(context, norm).lane_bits(*context.answers(norm).approximate) == 16;
}

// `inputs` are all but the outputs' parameters.
void emit_norm(LoweringContext& context, const Region& region, const Body& body, std::vector<ValueId> inputs,
               const NormEmission& outputs, bool q15) {
  inputs.insert(inputs.end(), outputs.inputs.begin(), outputs.inputs.end());
  Node& node = context.emit(region, body, std::move(inputs), outputs.outputs, outputs.bound);
  if (q15) node.attributes["lane_bits"] = int64_t{16};
}

double sum_scale(LoweringContext& context, int norm) {
  const Node& node = context.real.nodes[norm];
  const Encoding& e = context.encoding(node.inputs[0], norm, "input");
  if (e.bits != 16 || e.zero_point[0] != 0)
    fail(ErrorKind::kContract, node.name, ": encode.input of LayerNormalization must be symmetric with 16 bits");
  const double scale = tensor_scale(e, node.name);
  // The integer norm has no epsilon; a sum's step must be coarse enough that it would not be seen.
  const double epsilon = node.has("epsilon") ? node.number("epsilon") : 1e-5;
  if (epsilon > 1e-3) fail(ErrorKind::kContract, node.name, ": epsilon ", epsilon, " is too large to be left out");
  return scale;
}

}  // namespace

std::optional<Region> match_embed_norm(const Graph& real, int node) {
  std::vector<int> gathers, adds;
  if (!constant_affine(real, real.nodes[node]) || !collect_gathers(real, real.nodes[node].inputs[0], gathers, adds))
    return std::nullopt;
  Region region = norm_region(real, node, "embed_norm");
  region.parts["gather"] = gathers;
  region.nodes.insert(region.nodes.end(), gathers.begin(), gathers.end());
  region.nodes.insert(region.nodes.end(), adds.begin(), adds.end());
  return region;
}

std::vector<Wish> wishes_embed_norm(const Graph& real, const Region& region) {
  const int norm = region.only("norm");
  return {{real.nodes[norm].inputs[0], norm, "input", {}}};
}

void lower_embed_norm(LoweringContext& context, const Region& region) {
  const Graph& real = context.real;
  const int norm = region.only("norm");
  const NormPart& part = norm_part(context, norm);
  const bool q15 = in_q15(context, norm);
  const double step = sum_scale(context, norm);
  std::vector<TableShape> tables;
  std::vector<ValueId> indices, parameters;
  int64_t n = 0;
  for (int g : region.part("gather")) {
    const Node& gather = real.nodes[g];
    const Tensor& table = real.value(gather.inputs[0]).constant;
    const std::string table_name = real.value(gather.inputs[1]).name;
    const Encoding encoding = context.weight_encoding(g, "weight", table);
    const auto code_of = context.weight_code(g, "weight", encoding);
    if (encoding.bits > 8)
      fail(ErrorKind::kContract, gather.name, ": encode.weight has ", encoding.bits, " bits; at most 8");
    if (context.multiplier_bits(g) < 31)
      fail(ErrorKind::kContract, gather.name, ": multiplier_bits is for weights of products");
    n = table.dim(1);
    std::vector<int8_t> codes(table.count());
    std::vector<int32_t> m;
    std::vector<int> s;
    const double largest = 256 * *std::max_element(encoding.scale.begin(), encoding.scale.end()) / step;
    const int bits = q15 && largest < std::ldexp(1, kQ15TableBits - 1) ? kQ15TableBits : 31;
    for (int64_t r = 0; r < table.dim(0); ++r) {
      const size_t at = encoding.scale.size() == 1 ? 0 : r;
      if (encoding.zero_point[at] != 0) fail(ErrorKind::kContract, gather.name, ": encode.weight must be symmetric");
      for (int64_t c = 0; c < n; ++c)
        codes[r * n + c] = static_cast<int8_t>(code_of(table.data<float>()[r * n + c] / encoding.scale[at]));
      const Dyadic ratio = encode_ratio(256 * encoding.scale[at] / step, cat(gather.name, " row ", r), bits);
      m.push_back(ratio.m);
      s.push_back(ratio.s);
    }
    tables.push_back({table_name, table.dim(0)});
    indices.push_back(context.index_input(gather.inputs[1]));
    const std::string name = region.name + "/" + table_name;
    parameters.push_back(context.constant(name + "_codes", Tensor::from<int8_t>(table.dims(), codes)));
    if (context.provenance) {
      auto scales = encoding.scale;
      scales.resize(static_cast<size_t>(table.dim(0)), scales[0]);
      context.provenance->coded[region.name][gather.inputs[0]] = {name + "_codes", 0, std::move(scales), {}};
    }
    parameters.push_back(context.constant(name + "_m", multiplier_tensor(m)));
    parameters.push_back(context.constant(name + "_s", shift_tensor(s)));
  }
  const Part& answer = *context.answers(norm).approximate;
  // Half a unit of a multiplier, times what its term may be.
  const double ratio_error = std::ldexp(static_cast<double>(tables.size() * kLargestQ15Sum), -kQ15TableBits);
  const NormEmission outputs = q15 ? emit_q15_outputs(context, region, sum_rounding(tables.size()) + ratio_error)
                                   : emit_outputs(context, region, part.unit(answer, n), part.multiplier_bits(answer),
                                                  sum_rounding(tables.size()));
  indices.insert(indices.end(), parameters.begin(), parameters.end());
  const Body body = q15 ? q15_embed_norm_body(n, tables, outputs.types)
                        : embed_norm_body(n, tables, outputs.types, part.core(answer));
  emit_norm(context, region, body, std::move(indices), outputs, q15);
}

std::optional<Region> match_add_norm(const Graph& real, int node) {
  const int add = real.producer(real.nodes[node].inputs[0]);
  if (!constant_affine(real, real.nodes[node]) || add < 0 || real.nodes[add].op != "Add") return std::nullopt;
  const Node& sum = real.nodes[add];
  if (!read_once(real, sum.outputs[0]) || real.value(sum.inputs[0]).is_constant() ||
      real.value(sum.inputs[1]).is_constant())
    return std::nullopt;
  Region region = norm_region(real, node, "add_norm");
  region.parts["add"] = {add};
  region.nodes.push_back(add);
  return region;
}

std::vector<Wish> wishes_add_norm(const Graph& real, const Region& region) {
  const int norm = region.only("norm"), add = region.only("add");
  return {{real.nodes[norm].inputs[0], norm, "input", {}},
          {real.nodes[add].inputs[0], add, "input", {}},
          {real.nodes[add].inputs[1], add, "input", {}}};
}

void lower_add_norm(LoweringContext& context, const Region& region) {
  const Graph& real = context.real;
  const int norm = region.only("norm"), add = region.only("add");
  const NormPart& part = norm_part(context, norm);
  const double step = sum_scale(context, norm);
  std::vector<ValueId> data, parameters;
  const std::array<const char*, 2> names = {"sublayer", "identity"};
  std::array<double, 2> ratio{};
  for (int i = 0; i < 2; ++i) {
    const ValueId value = real.nodes[add].inputs[i];
    const Encoding& e = context.encoding(value, add, "input");
    if (e.storage != DataType::kI16 || e.zero_point[0] != 0)
      fail(ErrorKind::kContract, real.nodes[add].name,
           ": encode.input of a residual Add must be symmetric with 9..16 bits");
    ratio[i] = 256 * tensor_scale(e, region.name) / step;
    data.push_back(context.input(value, add, "input"));
  }
  const int64_t n = real.value(real.nodes[norm].inputs[1]).constant.count();
  if (in_q15(context, norm)) {
    // The sum's step follows from those of its operands, so that no sum leaves a word.
    const double total = std::fabs(ratio[0]) + std::fabs(ratio[1]);
    for (int i = 0; i < 2; ++i) {
      const auto m = static_cast<int16_t>(std::round(ratio[i] / total * static_cast<double>(kLargestQ15Sum - 1)));
      data.push_back(context.constant(cat(region.name, "/", names[i], "_m"), Tensor::from<int16_t>({1}, {m})));
    }
    // Each term rounds by half a step, and so much is a ratio off at its largest code.
    const NormEmission outputs = emit_q15_outputs(context, region, 2 * (0.5 + 0.5) + 0x1p-9);
    return emit_norm(context, region, q15_add_norm_body(n, outputs.types), std::move(data), outputs, true);
  }
  double sum_error = sum_rounding(2);
  std::array<Dyadic, 2> encoded;
  const Part& answer = *context.answers(norm).approximate;
  const int bits = part.sum_bits(answer);
  if (const auto sum = bits < 31 ? encode_sum_ratios(ratio, bits) : std::nullopt) {
    encoded = {Dyadic{sum->m[0], sum->s}, Dyadic{sum->m[1], sum->s}};
    sum_error += std::ldexp(32768, -sum->s - 1) / 256;  // half a unit of the smaller ratio, times the largest code
  } else {
    for (int i = 0; i < 2; ++i) encoded[i] = encode_ratio(ratio[i], cat(region.name, " ", names[i]));
  }
  for (int i = 0; i < 2; ++i) {
    parameters.push_back(context.constant(cat(region.name, "/", names[i], "_m"), multiplier_tensor({encoded[i].m})));
    parameters.push_back(context.constant(cat(region.name, "/", names[i], "_s"), shift_tensor({encoded[i].s})));
  }
  const NormEmission outputs =
      emit_outputs(context, region, part.unit(answer, n), part.multiplier_bits(answer), sum_error);
  data.insert(data.end(), parameters.begin(), parameters.end());
  emit_norm(context, region, add_norm_body(n, outputs.types, part.core(answer)), std::move(data), outputs, false);
}

}  // namespace dyadic
