// Tokenised texts as feeds of an encoder: all tokens one after the other, no padding.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace dyadic {

struct TokenBatch {
  // token, position (0, 1, .. in each text), type (all 0): i32[T]; start, length: i32[B].
  std::map<std::string, Tensor> feeds;
  int64_t tokens = 0;   // T
  int64_t texts = 0;    // B
  int64_t longest = 0;  // L
};

// ids[b] are the tokens of text b, special tokens included.
TokenBatch pack_tokens(std::span<const std::vector<int32_t>> ids);

}  // namespace dyadic
