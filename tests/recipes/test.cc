// Recipes that ship and the documentation of recipes: every example is read, and says what the text claims.
#include <algorithm>
#include <filesystem>
#include <regex>

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
    if (all[i].kind == "toml") {
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

TEST(Recipes, TheSmallestRecipeOfTheDocumentationIsComplete) {
  const test::ToyEncoder toy;
  const Recipe recipe = parse_block(block_named(blocks(read("docs/recipes.md")), "plain"));
  const Quantized q = quantize(toy.graph(), toy.symbols(), recipe, registry(), {toy.feeds(8, 1)});
  for (const CoverageRow& row : q.coverage) EXPECT_FALSE(row.composite.empty()) << row.node;
  EXPECT_TRUE(q.warnings.empty());
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

TEST(Recipes, EveryPartIsDocumented) {
  const std::string document = read("docs/recipes.md");
  for (const auto& [question, info] : registry().list()) {
    std::smatch row;
    ASSERT_TRUE(std::regex_search(
        document, row, std::regex("\\| " + question + " \\| \\[`" + info.name + "`\\]\\(\\.\\./([^)]*)\\)[^\\n]*")))
        << info.name;
    for (const auto& [parameter, meaning] : info.parameters) {
      EXPECT_THAT(row.str(), HasSubstr("`" + parameter + "`")) << info.name;
      EXPECT_FALSE(meaning.empty());
    }
    const std::string page = read(row[1]);
    EXPECT_THAT(page, HasSubstr("`" + info.name + "`"));
    for (const auto& [parameter, meaning] : info.parameters) EXPECT_THAT(page, HasSubstr("`" + parameter + "`"));
    EXPECT_FALSE(info.summary.empty() || info.source.empty()) << info.name;
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
