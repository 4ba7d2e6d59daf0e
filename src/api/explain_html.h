// The report of `dyadic explain` as a page for people.
#pragma once
#include <string>

#include "api/explain_flow.h"

namespace dyadic {

// One self-contained HTML page: a bar for each layer, worst first, as long as its total, cut in its
// causes; then the repairs. Names from files are escaped.
std::string explain_html(const ExplainReport& report, const std::string& title);
// Writes it, completely or not at all.
void write_explain_html(const std::string& path, const ExplainReport& report, const std::string& title);

}  // namespace dyadic
