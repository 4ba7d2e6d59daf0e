// Planted faults: is what `verify` compares fine enough to see a single flipped bit of a single constant?
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/lone_composite.h"
#include "api/verify_backends.h"

namespace dyadic {

struct Difference {
  std::string layer, backend;
  std::string inputs;  // "texts" or "extreme codes"
  int64_t index = 0;   // into the concatenated valid rows of the output, texts in order
  int64_t expected = 0, found = 0;
};

// One composite with inputs and the evaluator's outputs for each.
struct CompositeCase {
  LoneComposite composite;
  std::vector<Feeds> feeds;
  std::vector<Feeds> expected;
};

// The first code in which two results of a composite differ; `layer`, `index` and both codes are filled in.
std::optional<Difference> first_difference(const LoneComposite& composite, const Feeds& expected, const Feeds& found);

struct PlantedFault {
  std::string layer, backend;
  std::string constant;  // as the composite's body calls it: "weight", "token_m"
  int64_t byte = 0;      // of the constant
  int bit = 0;
  std::string found_by;  // "extreme codes", "aimed codes", "random codes", "range proof"; a missed or equivalent fault:
                         // why it was not found
};

struct InjectReport {
  int64_t planted = 0, found = 0;
  std::map<std::string, int64_t> found_by;  // counts
  std::vector<PlantedFault> faults;         // all that were found, in the order of planting
  std::vector<PlantedFault> missed;
  // Drawn, but not planted: proved to change no output for any input, so that no comparison could find them.
  std::vector<PlantedFault> equivalent;
};

// Draws `count` bits over the bytes of all constants of all composites and a backend for each, flips one at a time and
// compares that composite in that backend with the evaluator: on the extreme codes of its case, then on codes aimed at
// the fault, then on random rows until one shows it. A constant that makes the ranges unprovable is found by the proof.
InjectReport inject_faults(std::span<const CompositeCase> cases, std::span<const VerifyBackend> backends, int64_t count,
                           uint64_t seed);

}  // namespace dyadic
