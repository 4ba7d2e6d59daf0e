#include "io/tokenizers/utf8.h"

#include <unicode/utf8.h>

#include <cstdint>
#include <cstring>

#include "base/status.h"

namespace dyadic {

size_t find_invalid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const size_t size = text.size();
  for (size_t i = 0; i < size;) {
    uint64_t eight;
    if (size - i >= sizeof eight) {
      std::memcpy(&eight, bytes + i, sizeof eight);
      if ((eight & 0x8080808080808080ull) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const size_t start = i;
    UChar32 c;
    U8_NEXT(bytes, i, size, c);
    if (c < 0) return start;
  }
  return std::string_view::npos;
}

void check_utf8(std::string_view text, const std::string& where) {
  const size_t at = find_invalid_utf8(text);
  if (at != std::string_view::npos)
    fail(ErrorKind::kMalformed, where, ": not UTF-8 at byte ", at, "; convert the text to UTF-8");
}

}  // namespace dyadic
