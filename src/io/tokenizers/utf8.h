// Well-formed UTF-8 (Unicode, table 3-7: no surrogates, no overlong forms, nothing above U+10FFFF).
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace dyadic {

// The offset of the first byte of the first ill-formed sequence, or std::string_view::npos.
size_t find_invalid_utf8(std::string_view text);

// kMalformed, naming `where` and the byte offset within `text`, unless all of it is well-formed.
void check_utf8(std::string_view text, const std::string& where);

}  // namespace dyadic
