// The safetensors file format: an 8-byte little-endian header length, a JSON header, raw little-endian tensors.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "tensor/tensor.h"

namespace dyadic {

struct SafetensorsLimits {
  size_t max_header_bytes = size_t{100} << 20;
};

// A mapped file; tensors are views into it. Everything is validated before open() returns: header size and JSON, types,
// shapes, offsets inside the file, sizes that match the shapes, no overlaps, no holes, no bytes behind the last tensor.
class Safetensors {
 public:
  static std::shared_ptr<const Safetensors> open(const std::string& path, const SafetensorsLimits& limits = {});

  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  // kMalformed if absent or of a type that nothing here computes with (U64, F8, ..). A view of the file where that is
  // aligned; F16 and BF16 are widened to f32, BOOL is u8.
  Tensor tensor(const std::string& name) const;
  void populate() const { file_->populate(); }
  std::vector<std::string> names() const;  // sorted; without the padding that write_safetensors adds
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    std::string dtype;
    Dims dims;
    size_t begin, end;
  };
  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  const std::byte* data_ = nullptr;
  std::map<std::string, Entry> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes tensors in the given order (64-byte aligned by padding tensors named "__pad.N") to a temporary and renames it.
void write_safetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace dyadic
