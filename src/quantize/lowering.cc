#include "quantize/lowering.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "quantize/rewrite.h"

namespace dyadic {

std::optional<Region> match_linear(const Graph& real, int node);
std::vector<Wish> wishes_linear(const Graph& real, const Region& region);
void lower_linear(LoweringContext& context, const Region& region);
std::optional<Region> match_attention(const Graph& real, int node);
std::vector<Wish> wishes_attention(const Graph& real, const Region& region);
void lower_attention(LoweringContext& context, const Region& region);
std::optional<Region> match_embed_norm(const Graph& real, int node);
std::vector<Wish> wishes_embed_norm(const Graph& real, const Region& region);
void lower_embed_norm(LoweringContext& context, const Region& region);
std::optional<Region> match_add_norm(const Graph& real, int node);
std::vector<Wish> wishes_add_norm(const Graph& real, const Region& region);
void lower_add_norm(LoweringContext& context, const Region& region);
std::optional<Region> match_pool(const Graph& real, int node);
std::vector<Wish> wishes_pool(const Graph& real, const Region& region);
void lower_pool(LoweringContext& context, const Region& region);
void take_channel_muls(const Graph& real, Region& region);
std::vector<Wish> wishes_island(const Graph& real, const Region& region);
void lower_island(LoweringContext& context, const Region& region);

const std::vector<Lowering>& lowerings() {
  static const std::vector<Lowering> rows = {
      {"linear", {"Gemm"}, match_linear, wishes_linear, lower_linear},
      {"attention", {"Attention"}, match_attention, wishes_attention, lower_attention},
      {"embed_norm", {"LayerNormalization"}, match_embed_norm, wishes_embed_norm, lower_embed_norm},
      {"add_norm", {"LayerNormalization"}, match_add_norm, wishes_add_norm, lower_add_norm},
      {"pool", {"MeanPool"}, match_pool, wishes_pool, lower_pool},
  };
  return rows;
}

const std::vector<int>& Region::part(const std::string& key) const {
  static const std::vector<int> none;
  const auto it = parts.find(key);
  return it == parts.end() ? none : it->second;
}

namespace {

// The row that takes node n as its anchor, with the region it takes.
std::optional<std::pair<const Lowering*, Region>> match_row(const Graph& real, int n) {
  for (const Lowering& lowering : lowerings())
    if (lowering.anchors.count(real.nodes[n].op))
      if (auto region = lowering.match(real, n)) return std::pair(&lowering, std::move(*region));
  return std::nullopt;
}

// The island of a float node. At an anchor it covers what the composite would have covered, but of several products of
// one input this one only.
std::optional<Region> match_island(const Graph& real, int n, bool at_anchor) {
  Region island{"island", real.nodes[n].name, {n}, {{"float", {n}}}};
  if (at_anchor) {
    const auto row = match_row(real, n);
    if (!row) return std::nullopt;
    const Region& region = row->second;
    if (region.part("product").empty()) island.nodes = region.nodes;
    const auto& chain = region.part("chain");
    island.nodes.insert(island.nodes.end(), chain.begin(), chain.end());
  }
  take_channel_muls(real, island);
  return island;
}

}  // namespace

Partition partition(const Graph& real, const std::vector<Answers>& answers) {
  static const Lowering kIsland = {"island", {}, nullptr, wishes_island, lower_island};
  std::map<int, std::pair<const Lowering*, Region>> by_anchor;  // a region's operands come from smaller anchors
  std::vector<bool> covered(real.nodes.size());
  const auto take = [&](int anchor, const Lowering* lowering, Region region) {
    if (std::any_of(region.nodes.begin(), region.nodes.end(), [&](int i) { return covered[i]; })) return false;
    for (int i : region.nodes) covered[i] = true;
    by_anchor.emplace(anchor, std::pair(lowering, std::move(region)));
    return true;
  };
  Graph rest = real;  // in which no row sees the nodes of an island
  for (const bool at_anchor : {true, false})
    for (size_t n = 0; n < answers.size(); ++n) {
      if (covered[n] || !is_float(answers[n])) continue;
      auto island = match_island(real, static_cast<int>(n), at_anchor);
      if (!island || !take(static_cast<int>(n), &kIsland, *island)) continue;
      for (int i : island->nodes) rest.nodes[i].op = island->composite;
    }
  for (size_t n = 0; n < real.nodes.size(); ++n)
    if (!covered[n])
      if (auto row = match_row(rest, static_cast<int>(n)))
        take(static_cast<int>(n), row->first, std::move(row->second));
  Partition result;
  for (auto& [anchor, region] : by_anchor) result.regions.push_back(std::move(region));
  for (size_t n = 0; n < real.nodes.size(); ++n)
    if (!covered[n]) result.uncovered.push_back(static_cast<int>(n));
  return result;
}

WishAnswer LoweringContext::answer(ValueId value, int node, const std::string& role) const {
  const auto find = [](const std::map<std::string, Part>& parts, const std::string& key) -> const Part* {
    const auto it = parts.find(key);
    return it == parts.end() ? nullptr : &it->second;
  };
  const Part *encode = find(answers_[node].encode, role), *fit = find(answers_[node].fit, role);
  if (role == "q" || role == "k" || role == "v") {  // inputs with roles of their own
    if (!encode) encode = find(answers_[node].encode, "input");
    if (!fit) fit = find(answers_[node].fit, "input");
  }
  if (!encode) {
    int producer = real.producer(value);
    // Factors of restructuring stand between a producer and the reader that its rule speaks of.
    while (producer >= 0 && is_channel_mul(real, real.nodes[producer]))
      producer = real.producer(real.nodes[producer].inputs[0]);
    if (producer >= 0) {
      encode = find(answers_[producer].encode, "output");
      if (!fit) fit = find(answers_[producer].fit, "output");
    }
  }
  if (!encode)
    fail(ErrorKind::kContract, "the recipe gives no encode.", role, " for node ", real.nodes[node].name, " (",
         real.nodes[node].op, "); add a rule with op = \"", real.nodes[node].op, "\" and encode.", role);
  return {*encode, fit ? *fit : registry.default_fit()};
}

const Encoding& LoweringContext::encoding(ValueId value, int node, const std::string& role) const {
  const auto it = edges_.find({value, answer(value, node, role)});
  DYADIC_CHECK(it != edges_.end(), real.value(value).name, " ", role);
  return it->second.encoding;
}

ValueId LoweringContext::input(ValueId value, int node, const std::string& role) const {
  const auto it = edges_.find({value, answer(value, node, role)});
  DYADIC_CHECK(it != edges_.end() && it->second.core >= 0, real.value(value).name, " ", role);
  return it->second.core;
}

ValueId LoweringContext::index_input(ValueId value) const {
  const ValueId id = model_.main().find(real.value(value).name);
  DYADIC_CHECK(id >= 0, real.value(value).name);
  return id;
}

std::vector<Edge*> LoweringContext::edges(ValueId value) {
  std::vector<Edge*> result;
  for (auto& [key, edge] : edges_)
    if (key.first == value) result.push_back(&edge);
  return result;
}

std::set<ValueId> LoweringContext::live(const Partition& parts, size_t next) const {
  std::set<ValueId> read, live;
  for (size_t r = next; r < parts.regions.size(); ++r)
    for (int n : parts.regions[r].second.nodes) read.insert(real.nodes[n].inputs.begin(), real.nodes[n].inputs.end());
  for (const auto& [key, edge] : edges_)
    if (edge.core >= 0 && read.count(key.first)) live.insert(edge.core);
  return live;
}

ValueId LoweringContext::define(ValueId real_value, DataType type, const Encoding& encoding,
                                const std::string& suffix) {
  Value v;
  v.name = real.value(real_value).name + suffix;
  v.type = type;
  v.shape = real.value(real_value).shape;
  v.encoding = encoding;
  const ValueId id = model_.main().add_value(std::move(v));
  if (provenance) provenance->carried[model_.main().value(id).name] = real_value;
  return id;
}

ValueId LoweringContext::constant(const std::string& name, Tensor tensor) {
  return model_.main().add_constant(name, std::move(tensor));
}

Encoding LoweringContext::weight_encoding(int node, const std::string& role, const Tensor& weight) const {
  const WishAnswer wish = answer(-1, node, role);
  const EncodePart& part = registry.encode(wish.encode.name);
  Encoding encoding = part.prototype(wish.encode);
  const auto values = weight.span<float>();
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      fail(ErrorKind::kContract, "node ", real.nodes[node].name, ": its ", role, " is not finite at element ", i);
  const bool per_row = !encoding.granularity.axes.empty();
  const int64_t rows = per_row ? weight.dim(0) : 1, columns = rows ? weight.count() / rows : 0;
  for (int64_t r = 0; r < rows; ++r) {
    auto observer = registry.fit(wish.fit.name).make(wish.fit);
    observer->observe(values.subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)));
    part.append(wish.encode, observer->fit(encoding.codes, part.symmetric(wish.encode)), encoding);
  }
  return encoding;
}

std::function<int64_t(double steps)> LoweringContext::weight_code(int node, const std::string& role,
                                                                  const Encoding& encoding) const {
  const Part answered = answer(-1, node, role).encode;
  if (const auto code = registry.encode(answered.name).code)
    return [code, answered, encoding](double steps) { return code(answered, encoding, steps); };
  const auto lo = static_cast<double>(encoding.codes.lo), hi = static_cast<double>(encoding.codes.hi);
  return [lo, hi](double steps) { return static_cast<int64_t>(std::clamp(std::round(steps), lo, hi)); };
}

int LoweringContext::multiplier_bits(int node) const {
  const Part encode = answer(-1, node, "weight").encode;
  return registry.encode(encode.name).multiplier_bits(encode);
}

std::vector<double> LoweringContext::bias_shift(int node, const std::vector<double>& integer_mean) const {
  const Part& answer = answers_[node].fit.at("bias");
  const BiasPart& part = registry.bias(answer.name);
  const std::vector<double> real_mean = codes->real_mean(real.nodes[node].outputs[0]);
  DYADIC_CHECK(real_mean.size() == integer_mean.size(), real.nodes[node].name);
  std::vector<double> correction;
  for (size_t c = 0; c < real_mean.size(); ++c)
    correction.push_back(part.correction(answer, real_mean[c], integer_mean[c]));
  return correction;
}

Node& LoweringContext::emit(const Region& region, const Body& body, std::vector<ValueId> inputs,
                            std::vector<ValueId> outputs, std::vector<double> bound) {
  const std::string key = body.key();
  model_.bodies.emplace(key, body);
  Node node;
  node.op = region.composite;
  node.name = region.name;
  node.body = key;
  node.inputs = std::move(inputs);
  node.outputs = std::move(outputs);
  node.attributes["bound"] = std::move(bound);
  return model_.main().add_node(std::move(node));
}

double tensor_scale(const Encoding& encoding, const std::string& what) {
  if (encoding.scale.size() != 1)
    fail(ErrorKind::kContract, what, ": this edge needs one scale per tensor, the recipe gives ",
         encoding.scale.size());
  return encoding.scale[0];
}

}  // namespace dyadic
