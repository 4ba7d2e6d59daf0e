// Recipes that ship and the documentation of recipes: every example is read, and says what the text claims.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>

#include "api/quantize_flow.h"
#include "base/file.h"
#include "base/status.h"
#include "methods/methods.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {
namespace fs = std::filesystem;

using testing::HasSubstr;

std::string read(const std::string& relative) { return read_file(test::source_path(relative), 1 << 20); }

Recipe parse(const std::string& text, const std::string& where = "recipe.toml") {
  return parse_recipe(text, where, registry().vocabulary());
}

struct Block {
  std::string kind, text;  // what follows ``` and the lines up to the next
  int64_t line = 0;
};

std::vector<Block> blocks(const std::string& document) {
  std::vector<Block> result;
  std::istringstream lines(document);
  std::string line;
  bool inside = false;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) result.push_back({line.substr(3), "", number});
    } else if (inside) {
      result.back().text += line + "\n";
    }
  }
  EXPECT_FALSE(inside);
  return result;
}

// A block is a whole recipe, or rules of one.
Recipe parse_block(const Block& block) {
  return parse(block.text.starts_with("name") ? block.text : "name = \"rules\"\n" + block.text);
}

const Block& block_named(const std::vector<Block>& all, const std::string& name) {
  for (const Block& block : all)
    if (block.text.starts_with("name = \"" + name + "\"")) return block;
  throw std::runtime_error("no block " + name);
}

TEST(Recipes, EveryShippedRecipeIsRead) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(test::source_path("recipes"))) {
    if (entry.path().extension() != ".toml") continue;
    const Recipe recipe = parse(read("recipes/" + entry.path().filename().string()), entry.path().string());
    EXPECT_EQ(recipe.name, entry.path().stem().string());
    EXPECT_FALSE(recipe.description.empty() || recipe.source.empty()) << recipe.name;
    ++count;
  }
  EXPECT_GE(count, 1);
}

TEST(Recipes, EveryExampleOfTheDocumentationIsReadOrRefusedAsItSays) {
  const auto all = blocks(read("docs/recipes.md"));
  int accepted = 0, refused = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].kind == "toml" || all[i].kind == "toml runnable" || all[i].kind == "toml behind default") {
      EXPECT_NO_THROW(parse_block(all[i])) << "docs/recipes.md:" << all[i].line;
      ++accepted;
    } else if (all[i].kind == "toml refused") {
      ASSERT_LT(i + 1, all.size());
      try {
        parse(all[i].text);
        ADD_FAILURE() << "docs/recipes.md:" << all[i].line << " is accepted";
      } catch (const Error& e) {
        EXPECT_EQ(e.what() + std::string("\n"), all[i + 1].text);
      }
      ++refused;
    } else {
      EXPECT_EQ(all[i].kind, "text") << "docs/recipes.md:" << all[i].line;
    }
  }
  EXPECT_GE(accepted, 7);
  EXPECT_GE(refused, 2);
}

// A recipe turns the tiny committed encoder into integers and back into nearly the same embeddings.
QuantizeReport quantize_tiny(const std::string& recipe) {
  QuantizeRequest request;
  request.model = test::source_path("models/tiny-encoder");
  request.recipe = recipe;
  request.calibration = test::source_path("examples/sentences.txt");
  request.sample = 32;
  static const std::string dir = test::temporary_dir();
  request.output = dir + "/tiny.dyad";
  return quantize_model(request);
}

TEST(Recipes, EveryShippedRecipeQuantizes) {
  for (const auto& name : recipe_names()) {
    const QuantizeReport report = quantize_tiny(name);
    EXPECT_EQ(report.recipe, name);
    EXPECT_GT(report.held_back.mean, 0.9) << name;
    EXPECT_TRUE(report.islands.empty() || !load_recipe(name).require_integer) << name;
  }
}

TEST(Recipes, EveryRunnableExampleQuantizes) {
  const std::string dir = test::temporary_dir();
  int alone = 0, behind = 0;
  for (const Block& block : blocks(read("docs/recipes.md"))) {
    const std::string where = "docs/recipes.md:" + std::to_string(block.line);
    if (block.kind != "toml runnable" && block.kind != "toml behind default") continue;
    const bool complete = block.kind == "toml runnable";
    AtomicFile file(dir + "/recipe.toml");
    file.write((complete ? "" : read("recipes/default.toml") + "\n") + block.text);
    file.commit();
    const QuantizeReport report = quantize_tiny(dir + "/recipe.toml");
    EXPECT_TRUE(report.islands.empty()) << where;
    EXPECT_THAT(report.warnings, testing::IsEmpty()) << where;
    EXPECT_GT(report.held_back.mean, 0.9) << where;
    ++(complete ? alone : behind);
  }
  EXPECT_GE(alone, 1);
  EXPECT_GE(behind, 2);
}

TEST(Recipes, TheCascadeOfTheDocumentationGivesWhatItSays) {
  const auto all = blocks(read("docs/recipes.md"));
  const Block& cascade = block_named(all, "cascade");
  const Graph graph = test::ToyEncoder{}.graph();
  const auto node = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                 [](const Node& n) { return n.name == "encoder/layer.0/intermediate/dense"; });
  ASSERT_NE(node, graph.nodes.end());
  const Answers answers = answers_for(parse_block(cascade), graph, *node);
  std::string text;
  const auto print = [&](const std::string& question, const std::map<std::string, Part>& parts) {
    for (const auto& [role, part] : parts) {
      std::string key = question + "." + role;
      key.resize(15, ' ');
      text += key + to_string(part) + "\n";
    }
  };
  print("encode", answers.encode);
  print("fit", answers.fit);
  EXPECT_EQ(text, (&cascade)[1].text);
}

// The rules of a block, by what distinguishes them: everything but their lines.
TEST(Recipes, TheTwoWaysOfWritingTablesAreOne) {
  for (const Block& block : blocks(read("docs/recipes.md")))
    if (block.text.find("[rule.restructure") != std::string::npos) {
      const auto rules = parse_block(block).rules;
      ASSERT_EQ(rules.size(), 2u);
      EXPECT_EQ(rules[0].ops, rules[1].ops);
      EXPECT_EQ(rules[0].answers.restructure, rules[1].answers.restructure);
      EXPECT_EQ(rules[0].answers.restructure.size(), 1u);
      return;
    }
  FAIL() << "no such block";
}

// The folder of the method whose source registers a part of this name.
std::string method_of(const std::string& part) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(test::source_path("src/methods")))
    if (entry.path().filename() == "method.cc" &&
        read_file(entry.path(), 1 << 20).find('"' + part + '"') != std::string::npos)
      found.push_back(entry.path().parent_path().filename());
  EXPECT_EQ(found.size(), 1u) << part;
  return found.empty() ? "" : found[0];
}

std::string joined(const std::set<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// What a part answers for: roles, or nodes of these operators.
std::string subject(const std::string& question, const std::string& part) {
  if (question == "encode" || question == "fit") return "roles";
  if (question == "fit.bias") return "Gemm";
  if (const auto* unary = registry().unary(part)) return joined(unary->ops);
  if (registry().softmax(part)) return "Attention";
  if (registry().norm(part)) return "LayerNormalization";
  for (const auto& restructure : registry().restructures())
    if (restructure.info.name == part) return joined(restructure.ops);
  return "";
}

// Text as a cell of a Markdown table.
std::string cell(const std::string& text) { return std::regex_replace(text, std::regex("[*|]"), "\\$&"); }

std::string parts_table() {
  std::string table = "| question | part | of | what it is | parameters |\n|---|---|---|---|---|\n";
  for (const auto& [question, info] : registry().list()) {
    std::string parameters;
    for (const auto& [name, meaning] : info.parameters)
      parameters += (parameters.empty() ? "`" : "; `") + name + "`: " + cell(meaning);
    std::string row = "| " + question + " | [`" + info.name + "`](../src/methods/" + method_of(info.name) +
                      "/README.md) | " + subject(question, info.name) + " | " + cell(info.summary) + " | " + parameters;
    table += row + (parameters.empty() ? "|\n" : " |\n");
  }
  return table;
}

TEST(Recipes, TheTableOfPartsIsThatOfTheRegistry) {
  constexpr std::string_view kBegin = "<!-- generated: parts -->\n", kEnd = "<!-- end -->";
  const std::string path = test::source_path("docs/recipes.md"), page = read("docs/recipes.md");
  ASSERT_NE(page.find(kBegin), page.npos);
  const size_t begin = page.find(kBegin) + kBegin.size(), end = page.find(kEnd, begin);
  ASSERT_NE(end, page.npos);
  if (std::getenv("DYADIC_UPDATE_DOCS")) {
    AtomicFile file(path);
    file.write(page.substr(0, begin) + parts_table() + page.substr(end));
    file.commit();
    return;
  }
  EXPECT_EQ(page.substr(begin, end - begin), parts_table())
      << "run test_tests_recipes with DYADIC_UPDATE_DOCS=1 and commit the page";
}

TEST(Recipes, EveryPartHasItsPage) {
  for (const auto& [question, info] : registry().list()) {
    const std::string page = read("src/methods/" + method_of(info.name) + "/README.md");
    EXPECT_THAT(page, HasSubstr("`" + info.name + "`"));
    for (const auto& [parameter, meaning] : info.parameters) {
      EXPECT_THAT(page, HasSubstr("`" + parameter + "`")) << info.name;
      EXPECT_FALSE(meaning.empty()) << info.name << " " << parameter;
    }
    EXPECT_FALSE(info.summary.empty() || info.source.empty()) << info.name;
  }
}

// The words of the language, as the reader's own messages list them.
TEST(Recipes, EveryKeySelectorAndRoleIsDocumented) {
  const std::string document = read("docs/recipes.md");
  const auto documented = [&](const std::string& word) {
    EXPECT_TRUE(std::regex_search(document, std::regex("\\| .*`[^`]*\\b" + word + "\\b[^`]*`.*\\|"))) << word;
  };
  for (const char* key : {"name", "description", "source", "require", "calibration", "sample", "rule", "op", "match",
                          "encode", "fit", "approximate", "restructure"})
    documented(key);
  for (const char* probe : {"where.nonsense = 1", "encode.nonsense = \"affine\""}) {
    try {
      parse("name = \"x\"\n[[rule]]\n" + std::string(probe) + "\n");
      ADD_FAILURE() << probe;
    } catch (const Error& error) {
      const std::string message = error.what();
      const size_t list = std::max(message.find("known: ") + 7, message.find(" (") + 2);
      const std::string words = message.substr(list);
      static const std::regex word("([a-z_]+)( =|,|$)");
      int count = 0;
      for (std::sregex_iterator i(words.begin(), words.end(), word), end; i != end; ++i, ++count) documented((*i)[1]);
      EXPECT_GE(count, 3) << message;
    }
  }
}

// Damaged recipes are read or refused, nothing else.
TEST(Recipes, DamageIsReadOrRefused) {
  const std::string whole = read("recipes/default.toml");
  Random random(test::seed());
  const std::string alphabet = "[]{}=.,\"'#\n-_ \t\\0e\x7f\xff\x80";
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = i % 3 ? whole : whole.substr(0, random.below(whole.size()));
    for (uint64_t changes = random.below(4); changes-- > 0 && !text.empty();) {
      const size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = alphabet[random.below(alphabet.size())];
          break;
        case 1:
          text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
          break;
        case 2:
          text.erase(at, random.below(40));
          break;
        default:
          text.insert(at, text, random.below(text.size()), random.below(60));
      }
    }
    try {
      parse(text);
    } catch (const Error& e) {
      ASSERT_EQ(e.kind(), ErrorKind::kMalformed) << e.what();
      ASSERT_THAT(e.what(), testing::StartsWith("recipe.toml:")) << text;
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Recipes, EveryMethodHasItsPage) {
  for (const auto& entry : fs::directory_iterator(test::source_path("src/methods"))) {
    if (entry.is_directory()) {
      EXPECT_TRUE(fs::exists(entry.path() / "README.md")) << entry.path();
    }
  }
}

}  // namespace
}  // namespace dyadic
