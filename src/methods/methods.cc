#include "methods/methods.h"

namespace dyadic {

#define DYADIC_METHOD(name) void register_##name(Registry& registry);
#include "methods/methods.inc"
#undef DYADIC_METHOD

const Registry& registry() {
  static const Registry* const all = [] {
    auto* made = new Registry;
#define DYADIC_METHOD(name) register_##name(*made);
#include "methods/methods.inc"
#undef DYADIC_METHOD
    return made;
  }();
  return *all;
}

}  // namespace dyadic
