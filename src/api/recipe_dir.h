// Where the recipes lie that ship with Dyadic.
#pragma once
#include <string>

namespace dyadic {

// $DYADIC_RECIPES, else share/dyadic/recipes beside the folder of the running program (an installation), else recipes/
// of the source that this was built from, else of the installation prefix that it was configured for.
std::string recipe_dir();

}  // namespace dyadic
