#include "tensor/epilogue.h"

#include <cstdio>
#include <sstream>

#include "base/status.h"

namespace dyadic {
namespace {
constexpr const char* kNames[] = {"bias", "requantize", "table", "add", "clamp"};
}

std::string to_string(const std::vector<EpilogueStage>& stages) {
  std::string text;
  for (const auto& stage : stages) {
    if (!text.empty()) text += ' ';
    text += kNames[static_cast<int>(stage.kind)];
    text += cat('(', name(stage.type), ',', stage.clamp.lo, ',', stage.clamp.hi, ',', stage.zero_point, ')');
  }
  return text;
}

std::vector<EpilogueStage> parse_epilogue(const std::string& text) {
  std::vector<EpilogueStage> stages;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    char kind[16], type[8];
    long long lo, hi, zero;
    int used = 0;
    const bool shaped =
        std::sscanf(word.c_str(), "%15[a-z](%7[a-z0-9],%lld,%lld,%lld)%n", kind, type, &lo, &hi, &zero, &used) == 5 &&
        used == static_cast<int>(word.size());
    const auto data_type = shaped ? parse_data_type(type) : std::nullopt;
    int k = 0;
    while (k < 5 && shaped && std::string(kNames[k]) != kind) ++k;
    if (!shaped || !data_type || k == 5) fail(ErrorKind::kMalformed, "epilogue stage '", word, "' is not known");
    stages.push_back({static_cast<StageKind>(k), *data_type, {lo, hi}, zero});
  }
  return stages;
}

}  // namespace dyadic
