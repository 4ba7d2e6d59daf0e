#include "base/buffer.h"

#include <cstdlib>
#include <cstring>

#include "base/status.h"

namespace dyadic {

void AlignedBuffer::Free::operator()(std::byte* p) const { std::free(p); }

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  const size_t padded = (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
  if (padded < bytes) fail(ErrorKind::kFailed, "out of memory: ", bytes, " bytes wanted");
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, padded)));
  if (!data_) fail(ErrorKind::kFailed, "out of memory: ", bytes, " bytes wanted");
  std::memset(data_.get(), 0, padded);
}

}  // namespace dyadic
