#include "support.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace dyadic::test {
namespace fs = std::filesystem;
namespace {

std::vector<std::string>& made_dirs() {
  static std::vector<std::string> dirs;
  return dirs;
}

std::optional<std::string> existing(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  return path.string();
}

}  // namespace

std::optional<std::string> data_dir() {
  const char* dir = std::getenv("DYADIC_DATA");
  if (!dir || !*dir) return std::nullopt;
  return existing(dir);
}

std::optional<std::string> data_path(const std::string& relative) {
  const auto dir = data_dir();
  return dir ? existing(fs::path(*dir) / relative) : std::nullopt;
}

std::optional<std::string> minilm_dir() {
  const char* dir = std::getenv("DYADIC_MODELS");
  const fs::path models = dir && *dir ? fs::path(dir) : fs::path(DYADIC_SOURCE_DIR) / "build/models";
  return existing(models / "all-MiniLM-L6-v2");
}

std::string dyadic_program() { return DYADIC_BINARY_DIR "/dyadic"; }

std::string source_path(const std::string& relative) { return (fs::path(DYADIC_SOURCE_DIR) / relative).string(); }

std::string temporary_dir() {
  std::string pattern = (fs::temp_directory_path() / "dyadic-test-XXXXXX").string();
  if (!mkdtemp(pattern.data())) throw std::runtime_error("cannot make a temporary folder");
  made_dirs().push_back(pattern);
  return pattern;
}

uint64_t seed() {
  static const uint64_t value = [] {
    const char* text = std::getenv("DYADIC_SEED");
    const uint64_t s = text ? std::strtoull(text, nullptr, 10) : 1;
    std::printf("seed %llu (set DYADIC_SEED to change it)\n", static_cast<unsigned long long>(s));
    return s;
  }();
  return value;
}

}  // namespace dyadic::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  for (const auto& dir : dyadic::test::made_dirs()) {
    std::error_code error;
    std::filesystem::remove_all(dir, error);
  }
  const auto* unit = testing::UnitTest::GetInstance();
  if (unit->successful_test_count() == 0 && unit->skipped_test_count() > 0) std::puts("EVERY TEST SKIPPED");
  return result;
}
