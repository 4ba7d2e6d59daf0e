// What tests share: where data is, skipping with a reason, seeds that are printed.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace dyadic::test {

// The folder of optional test data (environment DYADIC_DATA), or nothing.
std::optional<std::string> data_dir();
// A file or folder below data_dir(), if it is there.
std::optional<std::string> data_path(const std::string& relative);
// The MiniLM model folder below $DYADIC_MODELS (default <source>/build/models), if it was fetched.
std::optional<std::string> minilm_dir();
// The command line tool of this build.
std::string dyadic_program();
// A path below the project's source folder.
std::string source_path(const std::string& relative);
// A fresh, empty temporary folder, removed when the process ends.
std::string temporary_dir();
// The seed of this run: environment DYADIC_SEED or 1; printed once so that a failure can be repeated.
uint64_t seed();

}  // namespace dyadic::test

#define DYADIC_SKIP_WITHOUT(optional_path, what) \
  if (!(optional_path)) GTEST_SKIP() << "SKIPPED: " << what
