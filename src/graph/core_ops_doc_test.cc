// docs/core-ops.md shows the table of operations; with DYADIC_UPDATE_DOCS set, the list is written there anew.
#include <cstdlib>

#include "base/file.h"
#include "graph/core_ops.h"
#include "support.h"

namespace dyadic {
namespace {

constexpr std::string_view kBegin = "<!-- generated: operations -->\n", kEnd = "<!-- end -->";

// A cell of a Markdown table, as code or as text.
std::string cell(std::string_view text, const char* quote = "") {
  std::string escaped;
  for (const char c : text) {
    if (c == '|' || (c == '*' && !*quote)) escaped += '\\';
    escaped += c;
  }
  return escaped.empty() || escaped == "-" ? " - |" : " " + (quote + escaped) + quote + " |";
}

std::string operations() {
  std::string table =
      "| operation | signature | attributes | rounding | range | C | meaning |\n|---|---|---|---|---|---|---|\n";
  for (const CoreOpInfo& row : core_ops())
    table += "|" + cell(row.name, "`") + cell(row.signature, "`") + cell(row.attributes, "`") + cell(row.rounding) +
             cell(row.range_rule) + cell(row.c_expression, "`") + cell(row.meaning) + "\n";
  return table;
}

TEST(CoreOpsDoc, ListsTheTable) {
  const std::string path = test::source_path("docs/core-ops.md");
  const std::string page = read_file(path);
  const size_t begin = page.find(kBegin) + kBegin.size(), end = page.find(kEnd);
  ASSERT_NE(page.find(kBegin), page.npos);
  ASSERT_NE(end, page.npos);
  if (std::getenv("DYADIC_UPDATE_DOCS")) {
    AtomicFile file(path);
    file.write(page.substr(0, begin) + operations() + page.substr(end));
    file.commit();
    return;
  }
  EXPECT_EQ(page.substr(begin, end - begin), operations())
      << "run test_graph_core_ops_doc with DYADIC_UPDATE_DOCS=1 and commit the page";
}

}  // namespace
}  // namespace dyadic
