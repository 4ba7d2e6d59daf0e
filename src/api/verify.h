// `dyadic verify`: is the model integer-only, is every range proved, do all executors give the same bits?
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "graph/model.h"

namespace dyadic {

struct VerifyRequest {
  std::string model;
  std::string texts;  // a text file; empty: verification_texts(seed)
  uint64_t seed = 0;
  int max_threads = 2;
};

struct LayerHashes {
  std::string name, composite;
  std::map<std::string, std::string> hashes;  // 16 hexadecimal digits by backend
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

// `length` token ids, uniform over the vocabulary.
std::vector<int32_t> random_tokens(Random& random, int64_t vocabulary, int64_t length);

// The texts that `verify` draws when none are given: 64 of 1..128 tokens, lengths 1, 2, 3, primes and powers of two.
std::vector<std::vector<int32_t>> verification_texts(const Model& model, uint64_t seed);

// The numbers that a model promises to take at one of its integer inputs, e.g. token ids.
Interval input_range(const Model& model, const std::string& input);

// kContract if the overflow proof fails.
VerifyReport verify_model_file(const VerifyRequest& request);

}  // namespace dyadic
