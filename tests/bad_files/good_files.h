// The good files that bad ones are made from: model folders, what `dyadic quantize` makes of one, a recipe, texts and
// scored pairs.
#pragma once
#include "api/quantize_flow.h"
#include "good_models.h"
#include "support.h"

namespace dyadic::test {

inline void write_good_files(const fs::path& dir) {
  write_good_models(dir);
  spit(dir / "recipe.toml", slurp(source_path("recipes/default.toml")));
  spit(dir / "texts.txt", repeated("A man is eating food.\nSome men eat.\nfoods\na b c d e f\n", 8));
  spit(dir / "pairs.tsv",
       repeated("main\tnews\t2012\t1\t2.5\ta man\tmen eat\nmain\tnews\t2012\t2\t4.0\tfood\tfoods\n", 2));
  QuantizeRequest request;
  request.model = (dir / "encoder").string();
  request.recipe = (dir / "recipe.toml").string();
  request.calibration = (dir / "texts.txt").string();
  request.sample = 8;
  request.output = (dir / "encoder.dyad").string();
  quantize_model(request);
}

}  // namespace dyadic::test
