#include "quantize/registry.h"

#include "base/status.h"

namespace dyadic {
namespace {

template <class Map>
const typename Map::mapped_type* find(const Map& map, const std::string& name) {
  const auto it = map.find(name);
  return it == map.end() ? nullptr : &it->second;
}

}  // namespace

Granularity granularity_of(const Part& part) {
  const std::string granularity = part.text("granularity", "tensor");
  if (granularity == "channel" || granularity == "row") return {{0}};
  if (granularity != "tensor")
    fail(ErrorKind::kMalformed, part.name, ": granularity must be tensor, channel or row, not '", granularity, "'");
  return {};
}

const EncodePart& Registry::encode(const std::string& name) const {
  const auto* part = find(encodes_, name);
  if (!part) fail(ErrorKind::kMalformed, "recipe: unknown encode part '", name, "'");
  return *part;
}
const FitPart& Registry::fit(const std::string& name) const {
  const auto* part = find(fits_, name);
  if (!part) fail(ErrorKind::kMalformed, "recipe: unknown fit part '", name, "'");
  return *part;
}
const BiasPart& Registry::bias(const std::string& name) const {
  const auto* part = find(biases_, name);
  if (!part) fail(ErrorKind::kMalformed, "recipe: unknown fit.bias part '", name, "'");
  return *part;
}
const UnaryPart* Registry::unary(const std::string& name) const { return find(unaries_, name); }
const SoftmaxPart* Registry::softmax(const std::string& name) const { return find(softmaxes_, name); }
const NormPart* Registry::norm(const std::string& name) const { return find(norms_, name); }

std::vector<std::pair<std::string, PartInfo>> Registry::list() const {
  std::vector<std::pair<std::string, PartInfo>> rows;
  const auto append = [&](const std::string& question, const auto& map) {
    for (const auto& [name, part] : map) rows.emplace_back(question, part.info);
  };
  append("encode", encodes_);
  append("fit", fits_);
  append("fit.bias", biases_);
  append("approximate", unaries_);
  append("approximate", softmaxes_);
  append("approximate", norms_);
  for (const auto& part : restructures_) rows.emplace_back("restructure", part.info);
  return rows;
}

RecipeVocabulary Registry::vocabulary() const {
  RecipeVocabulary vocabulary;
  for (const char* question : {"encode", "fit", "fit.bias", "approximate", "restructure"}) vocabulary.parts[question];
  for (const auto& [question, info] : list()) {
    PartVocabulary& part = vocabulary.parts[question][info.name];
    for (const auto& [key, meaning] : info.parameters) part.parameters.insert(key);
    part.check = info.check;
  }
  vocabulary.parts["approximate"][kFloatPart];
  return vocabulary;
}

}  // namespace dyadic
