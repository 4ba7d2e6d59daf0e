// Replays the kept inputs of every fuzz target, and damaged copies of them: what fuzzing found once stays found.
#include "../../fuzz/targets.h"

#include "support.h"

namespace dyadic::test {
namespace {

class FuzzCorpus : public testing::TestWithParam<fuzz::Target> {
 protected:
  static void SetUpTestSuite() { setenv("DYADIC_FUZZ_MODEL", source_path("models/golden/tiny.dyad").c_str(), 1); }
};

TEST_P(FuzzCorpus, IsReadOrRefused) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(source_path(cat("fuzz/corpus/", GetParam().name)))) {
    SCOPED_TRACE(entry.path());
    const std::string input = slurp(entry.path());
    GetParam().run(input);
    Random random(seed(), std::hash<std::string>{}(entry.path().filename()));
    for (int round = 0; round < 20; ++round) {
      std::string damaged = input;
      for (uint64_t edits = 1 + random.below(3); edits > 0 && !damaged.empty(); --edits) {
        const size_t at = random.below(damaged.size());
        if (random.below(2))
          damaged[at] = static_cast<char>(damaged[at] ^ (1 << random.below(8)));
        else
          damaged.erase(at, 1 + random.below(8));
      }
      GetParam().run(damaged);
    }
    ++files;
  }
  EXPECT_GT(files, 0);
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus, testing::ValuesIn(fuzz::kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dyadic::test
