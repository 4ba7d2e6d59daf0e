#include "api/recipe_dir.h"

#include <cstdlib>
#include <filesystem>

namespace dyadic {

std::string recipe_dir() {
  namespace fs = std::filesystem;
  if (const char* dir = std::getenv("DYADIC_RECIPES"); dir && *dir) return dir;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (const fs::path& dir :
       {program.parent_path().parent_path() / "share/dyadic/recipes", fs::path(DYADIC_RECIPE_DIR)})
    if (fs::is_directory(dir, error)) return dir.string();
  return DYADIC_INSTALLED_RECIPE_DIR;
}

}  // namespace dyadic
