// Hints that memory is wanted soon.
#pragma once

namespace dyadic {

// The empty asm is what counts as an effect: gcc takes a function that does nothing but prefetch for one that does
// nothing at all, and drops its calls.
inline void prefetch(const void* p) {
  __builtin_prefetch(p);
  asm volatile("");
}
inline void prefetch_to_write(const void* p) {
  __builtin_prefetch(p, 1);
  asm volatile("");
}

}  // namespace dyadic
