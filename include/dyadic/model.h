// A quantized model as a .dyad file holds it. In libdyadic_runtime.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <dyadic/tensor.h>

namespace dyadic::v1 {

// What codes mean: real = scale * (code - zero_point), the same for a whole tensor.
struct Encoding {
  int bits = 8;
  double scale = 1;
  int64_t zero_point = 0;
};

// An input or output of a model.
struct TensorInfo {
  std::string name;
  DataType type = DataType::kI8;
  std::vector<std::string> shape;    // each a number or symbols, e.g. {"T", "384"}
  std::optional<Encoding> encoding;  // none: plain numbers, e.g. token ids
};

// Immutable and cheap to copy; copies share constants, which stay in the mapped file. Any number of threads may use
// one.
class Model {
 public:
  // Maps a .dyad file and validates all of it. kFailed if it cannot be read, kMalformed naming file and offset or key.
  static Model open(const std::string& path);

  std::vector<TensorInfo> inputs() const;
  std::vector<TensorInfo> outputs() const;
  // Largest value of each symbol in shapes for which the model is proved not to overflow: "T" tokens in all, "B" texts,
  // "L" tokens of the longest text.
  std::map<std::string, int64_t> capacity() const;
  // Layers that compute in float because the recipe asked for it; empty: integers only. libdyadic_runtime alone cannot
  // run a model that has some (Session: kContract); TextEncoder of libdyadic can.
  std::vector<std::string> islands() const;
  // "recipe", "calibration", "max_length", ..
  const std::map<std::string, std::string>& metadata() const;
  // Names of the files that travel along, e.g. "vocab.txt".
  std::vector<std::string> assets() const;
  // Contents of one; kUsage if there is none of that name.
  std::string asset(const std::string& name) const;

  struct Implementation;
  explicit Model(std::shared_ptr<const Implementation> implementation);
  const Implementation& implementation() const { return *implementation_; }

 private:
  std::shared_ptr<const Implementation> implementation_;
};

}  // namespace dyadic::v1
