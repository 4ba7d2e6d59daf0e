// `dyadic verify`: is the model integer-only, is every range proved, do all executors give the same bits?
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/encoder.h"
#include "api/verify_inject.h"
#include "base/random.h"
#include "graph/model.h"

namespace dyadic {

struct VerifyRequest {
  std::string model;
  std::string texts;  // a text file; empty: verification_texts(seed)
  uint64_t seed = 0;
  int max_threads = 2;
  int64_t inject = 0;  // faults to plant
};

// A layer is a composite of the stored graph. Each of its outputs has a 64-bit FNV-1a hash over its codes for all texts
// in input order: one row a token that a text has (or a row a text, behind pooling), row-major, codes little-endian in
// their storage type. The layer's hash is the FNV-1a hash of its outputs' hashes, eight bytes each, little-endian, in
// the order of the outputs. No padding, shape or separator enters: the hash depends on the codes alone, not on how
// texts are laid out, batched or spread over threads; and it can be computed text by text.
struct LayerHashes {
  std::string name, composite;
  std::map<std::string, std::string> hashes;  // 16 hexadecimal digits by backend
};

struct VerifyReport {
  bool integer_only = false;
  std::vector<std::string> islands;
  std::vector<std::string> lemmas;             // the proof rests on these
  std::vector<std::string> backends, skipped;  // skipped: with the reason
  std::vector<LayerHashes> layers;
  TextCounts texts;  // none is cut where they are random
  int64_t tokens = 0, longest = 0;
  int64_t extreme_feeds = 0, extreme_rows = 0;  // over all composites
  bool equal = true;
  std::vector<Difference> differences;  // the first of each backend that differs, on texts and on extreme codes
  std::optional<InjectReport> inject;   // if faults were wanted and the backends are equal
};

// `length` token ids, uniform over the vocabulary.
std::vector<int32_t> random_tokens(Random& random, int64_t vocabulary, int64_t length);

// The texts that `verify` draws when none are given: 64 of 1 to as many tokens as the model takes, about 3,000 in all;
// lengths 1, 2, 3, primes, powers of two, 128 and the capacity, shuffled.
std::vector<std::vector<int32_t>> verification_texts(const Model& model, uint64_t seed);

// The numbers that a model promises to take at one of its integer inputs, e.g. token ids.
Interval input_range(const Model& model, const std::string& input);

// kContract if the overflow proof fails.
VerifyReport verify_model_file(const VerifyRequest& request);

}  // namespace dyadic
