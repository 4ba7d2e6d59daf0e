#include "tensor/token_batch.h"

#include <algorithm>
#include <numeric>

#include "base/status.h"

namespace dyadic {

TokenBatch pack_tokens(std::span<const std::vector<int32_t>> ids) {
  TokenBatch batch;
  batch.texts = static_cast<int64_t>(ids.size());
  for (const auto& text : ids) {
    batch.tokens += static_cast<int64_t>(text.size());
    batch.longest = std::max(batch.longest, static_cast<int64_t>(text.size()));
  }
  if (batch.tokens > INT32_MAX) fail(ErrorKind::kContract, "a batch of ", batch.tokens, " tokens is too large");
  const auto i32 = [](int64_t count) { return Tensor(DataType::kI32, {count}); };
  Tensor token = i32(batch.tokens), position = i32(batch.tokens), type = i32(batch.tokens);
  Tensor start = i32(batch.texts), length = i32(batch.texts);
  int32_t at = 0;
  for (size_t b = 0; b < ids.size(); ++b) {
    const auto count = static_cast<int32_t>(ids[b].size());
    std::ranges::copy(ids[b], token.mutable_data<int32_t>() + at);
    std::iota(position.mutable_data<int32_t>() + at, position.mutable_data<int32_t>() + at + count, 0);
    start.mutable_data<int32_t>()[b] = at;
    length.mutable_data<int32_t>()[b] = count;
    at += count;
  }
  batch.feeds = {{"token", token}, {"position", position}, {"type", type}, {"start", start}, {"length", length}};
  return batch;
}

}  // namespace dyadic
