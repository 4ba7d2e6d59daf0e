// The .dyad file: a valid safetensors file. The u8 tensor "graph.json" holds the model, every constant is a tensor
// named as constant_name() says, files that travel along are u8 tensors "assets/NAME".
#pragma once
#include <memory>
#include <string>

#include "graph/model.h"

namespace dyadic {

// Writes to a temporary and renames; the same model gives the same bytes.
void save_model(const std::string& path, const Model& model);

// Maps the file and validates all of it (safetensors header, schema, bodies and their hashes, shapes, types) before
// anything large is allocated; constants stay views of the map. kMalformed naming file and offset or key.
std::shared_ptr<const Model> load_model(const std::string& path);

}  // namespace dyadic
