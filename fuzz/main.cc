// One libFuzzer program: DYADIC_FUZZ_TARGET is a function of targets.h.
#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dyadic::fuzz::DYADIC_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
