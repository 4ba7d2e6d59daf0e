#include "api/explain_html.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"

namespace dyadic {
namespace {

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

constexpr char kStyle[] = R"(
body { font: 14px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 2px 8px; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
.bar { display: flex; height: 1.1em; min-width: 16em; }
.weight { background: #4477aa; } .approximation { background: #ccbb44; }
.clipping { background: #ee6677; } .requantization { background: #66ccee; }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; margin: 0 .3em 0 1em; }
pre { background: #f4f4f4; padding: .6em; overflow-x: auto; }
)";

struct Cause {
  const char* name;
  double LayerLoss::*share;
};
constexpr Cause kCauses[] = {{"weight", &LayerLoss::weight},
                             {"approximation", &LayerLoss::approximation},
                             {"clipping", &LayerLoss::clipping},
                             {"requantization", &LayerLoss::requantization}};

// A negative share cancels others and has no length.
std::string bar(const LayerLoss& layer, double largest) {
  std::string parts;
  double positive = 0;
  for (const Cause& cause : kCauses) positive += std::max(0.0, layer.*cause.share);
  for (const Cause& cause : kCauses)
    if (const double share = layer.*cause.share; share > 0)
      parts += fmt::format(R"(<div class="{}" title="{} {:.1f} %" style="width:{:.2f}%"></div>)", cause.name,
                           cause.name, 100 * share, 100 * share / positive * layer.total / largest);
  return R"(<div class="bar">)" + parts + "</div>";
}

}  // namespace

std::string explain_html(const ExplainReport& report, const std::string& title) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{1}</style></head>\n"
      "<body><h1>Where {0} loses accuracy</h1>\n<p>{2} texts, {3} tokens. Cosine to the reference: mean {4:.5f}, 1st "
      "percentile {5:.5f}, minimum {6:.5f}.</p>\n<p>",
      escaped(title), kStyle, report.texts.count, report.tokens, report.agreement.mean, report.agreement.p01,
      report.agreement.min);
  for (const Cause& cause : kCauses) page += fmt::format(R"(<span class="key {0}"></span>{0})", cause.name);
  page +=
      "</p>\n<table><tr><th>layer</th><th>composite</th><th>total</th><th>SQNR dB</th><th>propagated</th><th></th></tr>"
      "\n";
  double largest = 1e-30;
  for (const LayerLoss& layer : report.layers) largest = std::max(largest, layer.total);
  for (const LayerLoss& layer : report.layers)
    page += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.2e}</td><td>{:.1f}</td><td>{:.2e}</td><td>{}</td></tr>\n",
                        escaped(layer.name), escaped(layer.composite), layer.total, layer.sqnr_db, layer.propagated,
                        bar(layer, largest));
  page += "</table>\n";
  if (!report.suggestions.empty()) page += "<h2>Repairs that were tried</h2>\n";
  for (const Suggestion& s : report.suggestions) {
    const std::string outcome =
        s.refused.empty() ? fmt::format("mean cosine {:+.5f} to {:.5f}, {:+} bytes", s.gain, s.agreement.mean, s.bytes)
                          : "refused: " + s.refused;
    page += fmt::format("<p><b>{}</b>: {}</p><pre>{}</pre>\n", escaped(s.what), escaped(outcome), escaped(s.rule));
  }
  return page + "</body></html>\n";
}

void write_explain_html(const std::string& path, const ExplainReport& report, const std::string& title) {
  AtomicFile file(path);
  file.write(explain_html(report, title));
  file.commit();
}

}  // namespace dyadic
