#include "quantize/calibration.h"

#include <cmath>
#include <cstring>

#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"

namespace dyadic {
namespace {

constexpr char kJson[] = "calibration.json", kRanges[] = "calibration.f32";

Tensor bytes_tensor(const void* data, size_t size) {
  Tensor tensor(DataType::kU8, {static_cast<int64_t>(size)});
  if (size) std::memcpy(tensor.mutable_raw(), data, size);
  return tensor;
}

const Json& list(const JsonObject& object, const std::string& key) {
  const Json& value = object.at(key);
  if (!value.is_array()) fail(ErrorKind::kMalformed, object.where(), ": ", key, " must be a list");
  return value;
}

}  // namespace

std::string graph_digest(const Graph& graph) {
  Hash64 digest;
  for (const Node& node : graph.nodes) digest.update(cat(node.op, ' ', node.name, '\n'));
  for (const Value& value : graph.values) {
    if (!value.is_constant()) continue;
    digest.update(cat(value.name, ' ', hex64(value.constant.hash()), '\n'));
  }
  return hex64(digest.value());
}

std::map<std::string, Tensor> calibration_assets(const Calibration& calibration) {
  Json json = {{"version", 1}, {"source", calibration.source}, {"ranges", Json::array()}, {"edges", Json::array()}};
  std::vector<float> numbers;
  for (const auto& [value, range] : calibration.ranges) {
    json["ranges"].push_back({{"value", value}, {"channels", range.lo.size()}});
    numbers.insert(numbers.end(), range.lo.begin(), range.lo.end());
    numbers.insert(numbers.end(), range.hi.begin(), range.hi.end());
  }
  for (const Calibration::Edge& edge : calibration.edges)
    json["edges"].push_back({{"value", edge.value}, {"scale", edge.scale}, {"zero_point", edge.zero_point}});
  const std::string text = json.dump();
  return {{kJson, bytes_tensor(text.data(), text.size())},
          {kRanges, bytes_tensor(numbers.data(), numbers.size() * sizeof(float))}};
}

Calibration read_calibration(const std::map<std::string, Tensor>& assets, const std::string& where) {
  const auto json_file = assets.find(kJson), ranges_file = assets.find(kRanges);
  if (json_file == assets.end() || ranges_file == assets.end())
    fail(ErrorKind::kContract, where, ": the file does not hold what calibration found (", kJson, ", ", kRanges,
         "); quantize the model again with this version");
  const std::string name = cat(where, ": ", kJson);
  const Json json = parse_json(
      {reinterpret_cast<const char*>(json_file->second.raw()), static_cast<size_t>(json_file->second.bytes())}, name);
  const JsonObject object(json, name);
  object.integer("version", 1, 1);
  Calibration calibration;
  calibration.source = object.string("source");
  const auto available = static_cast<size_t>(ranges_file->second.bytes());
  size_t at = 0;
  for (const Json& item : list(object, "ranges")) {
    const JsonObject entry(item, name + ": ranges");
    const auto channels = static_cast<size_t>(entry.integer("channels", 0, int64_t{1} << 30));
    if (channels > (available - at) / (2 * sizeof(float)))
      fail(ErrorKind::kMalformed, where, ": ", kRanges, ": ends at byte ", available, ", inside the ranges of ",
           entry.string("value"));
    ChannelRange& range = calibration.ranges[entry.string("value")];
    for (std::vector<float>* side : {&range.lo, &range.hi}) {
      side->resize(channels);
      if (channels) std::memcpy(side->data(), ranges_file->second.raw() + at, channels * sizeof(float));
      at += channels * sizeof(float);
      for (const float v : *side)
        if (!std::isfinite(v))
          fail(ErrorKind::kMalformed, where, ": ", kRanges, ": a range of ", entry.string("value"), " is not finite");
    }
  }
  if (at != available)
    fail(ErrorKind::kMalformed, where, ": ", kRanges, ": ", available - at, " bytes too many behind byte ", at);
  for (const Json& item : list(object, "edges")) {
    const JsonObject entry(item, name + ": edges");
    Calibration::Edge edge{entry.string("value"), {}, {}};
    for (const Json& scale : list(entry, "scale")) {
      if (!scale.is_number() || !(scale.get<double>() > 0) || !std::isfinite(scale.get<double>()))
        fail(ErrorKind::kMalformed, entry.where(), ": a scale of ", edge.value, " must be positive and finite");
      edge.scale.push_back(scale.get<double>());
    }
    for (const Json& zero : list(entry, "zero_point")) {
      if (!zero.is_number_integer() || zero.get<int64_t>() < -65536 || zero.get<int64_t>() > 65536)
        fail(ErrorKind::kMalformed, entry.where(), ": a zero point of ", edge.value, " must be an integer of a code");
      edge.zero_point.push_back(zero.get<int64_t>());
    }
    if (edge.scale.empty() || edge.scale.size() != edge.zero_point.size())
      fail(ErrorKind::kMalformed, entry.where(), ": ", edge.value, " needs as many scales as zero points");
    calibration.edges.push_back(std::move(edge));
  }
  return calibration;
}

}  // namespace dyadic
