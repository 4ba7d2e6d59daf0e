// The committed golden model: its layer hashes are the same in every version, on every machine, by every backend.
#include <algorithm>

#include "api/verify.h"
#include "base/file.h"
#include "base/json.h"
#include "runtime/container.h"
#include "support.h"

namespace dyadic {
namespace {

const std::string kFolder = test::source_path("models/golden");

Json golden_hashes() { return parse_json(read_file(kFolder + "/hashes.json"), "hashes.json"); }

TEST(Golden, EveryBackendGivesTheCommittedHashes) {
  const Json golden = golden_hashes();
  const VerifyReport report = verify_model_file({.model = kFolder + "/tiny.dyad", .texts = kFolder + "/texts.txt"});
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
TEST(Golden, HashesNameTheFirstChangedLayer) {
  Model model = *load_model(kFolder + "/tiny.dyad");
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

  const Json golden = golden_hashes();
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
