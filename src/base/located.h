// Errors from deep inside that get the file in front which they are about.
#pragma once
#include "base/status.h"

namespace dyadic {

// f(); an Error that it throws gets `where` (a file, a place in it) in front of its message.
template <class F>
decltype(auto) located(const std::string& where, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    throw Error(error.kind(), where + ": " + error.what());
  }
}

}  // namespace dyadic
