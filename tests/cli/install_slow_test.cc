// An installation in a fresh folder: what lies there, and the example programs built against it alone.
#include <regex>

#include <dyadic/text_encoder.h>

#include "run.h"

namespace dyadic::test {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

// Runs a shell line and returns what it printed.
std::string shell(const std::string& command) {
  static const std::string log = temporary_dir() + "/log";
  const int status = std::system(("(" + command + ") >" + log + " 2>&1").c_str());
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0) << command << "\n" << slurp(log);
  return slurp(log);
}

const std::string& installed() {
  static const std::string prefix = [] {
    const std::string build = fs::path(dyadic_program()).parent_path();
    const std::string made = temporary_dir() + "/dyadic";
    shell("cmake --install " + build + " --prefix " + made);
    return made;
  }();
  return prefix;
}

TEST(Install, ThePrefixHasEverything) {
  for (const char* file :
       {"bin/dyadic", "lib/libdyadic.a", "lib/libdyadic_runtime.a", "include/dyadic/session.h",
        "lib/cmake/dyadic/dyadicConfig.cmake", "lib/cmake/dyadic/dyadicConfigVersion.cmake",
        "share/dyadic/recipes/default.toml", "share/bash-completion/completions/dyadic",
        "share/zsh/site-functions/_dyadic", "share/fish/vendor_completions.d/dyadic.fish", "share/man/man1/dyadic.1"}) {
    EXPECT_TRUE(fs::is_regular_file(installed() + "/" + file)) << file;
  }
}

TEST(Install, TheProgramFindsItsRecipes) {
  // Those beside the program, even where the source is at hand.
  spit(installed() + "/share/dyadic/recipes/mine.toml", "name = \"mine\"\ndescription = \"d\"\nsource = \"s\"\n");
  EXPECT_THAT(shell(installed() + "/bin/dyadic list"), HasSubstr("mine"));
  fs::remove(installed() + "/share/dyadic/recipes/mine.toml");
  EXPECT_THAT(shell("DYADIC_RECIPES=" + source_path("recipes") + " " + installed() + "/bin/dyadic list"),
              HasSubstr("default"));
}

TEST(Install, EveryHeaderStandsAlone) {
  const std::string dir = temporary_dir();
  for (const auto& header : fs::directory_iterator(installed() + "/include/dyadic")) {
    spit(dir + "/one.cc", "#include <dyadic/" + header.path().filename().string() + ">\nint main() {}\n");
    shell("c++ -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I" + installed() + "/include " + dir + "/one.cc");
  }
}

TEST(Install, ExampleProgramsGiveWhatTheCommandLineGives) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "SKIPPED: the examples are built without the sanitizers of these libraries";
#endif
  const std::string build = temporary_dir();
  shell("cmake -S " + source_path("examples/cpp") + " -B " + build + " -DCMAKE_PREFIX_PATH=" + installed());
  shell("cmake --build " + build);

  const std::vector<std::string> texts = {"A man is eating food.", "Someone eats a meal.", "The stock market fell."};
  std::string lines, ids;
  v1::TextEncoder encoder(tiny_dyad());
  for (const auto& text : texts) {
    lines += text + "\n";
    ids += " ";
    for (const int32_t id : encoder.tokenize(text)) ids += std::to_string(id) + ",";
    ids.pop_back();
  }
  const std::string input = temporary_dir() + "/texts";
  spit(input, lines);

  std::istringstream rows(shell(build + "/run_tokens " + tiny_dyad() + ids));
  std::istringstream expected(cli("run " + tiny_dyad() + " " + input + " --quiet").out);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string row, json;
    ASSERT_TRUE(std::getline(rows, row) && std::getline(expected, json));
    std::istringstream numbers(row);
    for (const auto& number : nlohmann::json::parse(json)["embedding"]) {
      float value = 0;
      ASSERT_TRUE(numbers >> value);
      EXPECT_EQ(value, number.get<float>());
    }
  }

  const std::string ordered = shell(build + "/similar " + tiny_dyad() + " '" + texts[0] + "' <" + input);
  EXPECT_TRUE(std::regex_search(ordered, std::regex("^1\\.000000 A man is eating food\\.\n"))) << ordered;
  EXPECT_EQ(std::count(ordered.begin(), ordered.end(), '\n'), 3);
  EXPECT_THAT(shell(build + "/run_tokens /no/such.dyad 1 || test $? = 1"), HasSubstr("/no/such.dyad"));
}

TEST(Install, TheRuntimeAloneNeedsNoOtherPackage) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "SKIPPED: built without the sanitizers of these libraries";
#endif
  const std::string dir = temporary_dir();
  spit(dir + "/CMakeLists.txt",
       "cmake_minimum_required(VERSION 3.20)\nproject(p LANGUAGES CXX)\nset(CMAKE_CXX_STANDARD 20)\n"
       "find_package(dyadic 0.1 REQUIRED COMPONENTS runtime)\nadd_executable(p p.cc)\n"
       "target_link_libraries(p PRIVATE dyadic::runtime)\n"
       "if(TARGET DNNL::dnnl OR TARGET dyadic::dyadic)\n  message(FATAL_ERROR \"too much\")\nendif()\n"
       "file(GLOB recipes ${dyadic_RECIPES_DIR}/*.toml)\nif(NOT recipes)\n  message(FATAL_ERROR \"no "
       "recipes\")\nendif()\n");
  fs::copy_file(source_path("examples/cpp/run_tokens.cc"), dir + "/p.cc");
  shell("cmake -S " + dir + " -B " + dir + "/build -DCMAKE_PREFIX_PATH=" + installed());
  shell("cmake --build " + dir + "/build");
  const std::string libraries = shell("ldd " + dir + "/build/p");
  for (const char* foreign : {"dnnl", "icu", "zstd", "fmt", "gomp"})
    EXPECT_THAT(libraries, testing::Not(HasSubstr(foreign)));
}

}  // namespace
}  // namespace dyadic::test
