#pragma once
#include "tensor/token_batch.h"  // IWYU pragma: export
