// `dyadic verify`: is the model integer-only, is every range proved, do all executors give the same bits?
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dyadic {

struct VerifyRequest {
  std::string model;
  std::vector<std::string> texts;  // empty: 64 texts made from the model's vocabulary, about 3,000 tokens, from `seed`
  uint64_t seed = 0;
  int max_threads = 2;
};

struct LayerHashes {
  std::string name, composite;
  std::map<std::string, uint64_t> hashes;  // by backend
};

struct Difference {
  std::string layer, backend;
  int64_t index = 0;  // into the concatenated valid rows of the output, texts in order
  int64_t expected = 0, found = 0;
};

struct VerifyReport {
  bool integer_only = false;
  std::vector<std::string> islands;
  std::vector<std::string> lemmas;             // the proof rests on these
  std::vector<std::string> backends, skipped;  // skipped: with the reason
  std::vector<LayerHashes> layers;
  int64_t texts = 0, tokens = 0;
  bool equal = true;
  std::vector<Difference> differences;  // the first of each backend that differs
};

// kContract if the overflow proof fails.
VerifyReport verify_model_file(const VerifyRequest& request);

}  // namespace dyadic
