// Every method of the project, announced by one line in methods.inc.
#pragma once
#include "quantize/registry.h"

namespace dyadic {

const Registry& registry();

}  // namespace dyadic
