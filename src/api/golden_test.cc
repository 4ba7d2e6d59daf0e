// The committed golden models: their layer hashes are the same in every version, on every machine, by every backend.
#include <algorithm>

#include "api/verify.h"
#include "base/file.h"
#include "base/json.h"
#include "runtime/container.h"
#include "support.h"

namespace dyadic {
namespace {

const std::string kFolder = test::source_path("models/golden");

// `form` tells one model from the other: "" or "-q15".
std::string golden_model(const std::string& form) { return cat(kFolder, "/tiny", form, ".dyad"); }
Json golden_hashes(const std::string& form) {
  const std::string file = cat(kFolder, "/hashes", form, ".json");
  return parse_json(read_file(file), file);
}

class Golden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Forms, Golden, testing::Values("", "-q15"));

TEST_P(Golden, EveryBackendGivesTheCommittedHashes) {
  const Json golden = golden_hashes(GetParam());
  const VerifyReport report = verify_model_file({.model = golden_model(GetParam()), .texts = kFolder + "/texts.txt"});
  EXPECT_TRUE(report.integer_only);
  EXPECT_TRUE(report.equal);
  ASSERT_EQ(report.layers.size(), golden.size());
  for (const LayerHashes& layer : report.layers) {
    EXPECT_GE(layer.hashes.size(), 5u);
    for (const auto& [backend, hash] : layer.hashes)
      EXPECT_EQ(hash, golden.at(layer.name).get<std::string>()) << layer.name << ", " << backend;
  }
}

// One bit of one weight, and the hash of its layer is another while those of the layers before it stay.
TEST_P(Golden, HashesNameTheFirstChangedLayer) {
  Model model = *load_model(golden_model(GetParam()));
  const Graph& main = model.main();
  const auto changed =
      std::find_if(main.nodes.begin() + 4, main.nodes.end(), [](const Node& node) { return node.op == "linear"; });
  const ValueId weight = changed->inputs[1];
  const std::string name = changed->name;
  Tensor copy(main.value(weight).type, main.value(weight).constant.dims());
  for (int64_t i = 0; i < copy.count(); ++i) copy.set(i, main.value(weight).constant.at(i));
  copy.set(7, copy.at(7) ^ 32);
  model.main().value(weight).constant = copy;
  const std::string file = test::temporary_dir() + "/changed.dyad";
  save_model(file, model);

  const Json golden = golden_hashes(GetParam());
  const VerifyReport report = verify_model_file({.model = file, .texts = kFolder + "/texts.txt"});
  EXPECT_TRUE(report.equal);  // among each other
  for (const LayerHashes& layer : report.layers) {
    const bool same = layer.hashes.at("evaluator") == golden.at(layer.name).get<std::string>();
    EXPECT_EQ(same, layer.name != name) << layer.name;
    if (layer.name == name) break;
  }
}

}  // namespace
}  // namespace dyadic
