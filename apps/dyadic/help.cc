// How --help is laid out, and what options say about their values.
#include <fmt/format.h>

#include "commands.h"

namespace dyadic::cli {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

// Says "N in 1..1024, default 1" where CLI11 would say "INT:INT in [1 - 1024]=1".
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(26); }

 private:
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string value = value_text(*option);
    return (value.empty() ? "" : " " + value) + (option->get_required() ? " (required)" : "");
  }
};

}  // namespace

std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.find('}', open == type.npos ? 0 : open), colon = type.find(':');
  if (open != type.npos && close != type.npos) return split(type.substr(open + 1, close - open - 1), ',');
  const std::string tail = colon == type.npos ? "" : type.substr(colon + 1);
  return tail.find('|') != tail.npos && tail.find(' ') == tail.npos ? split(tail, '|') : std::vector<std::string>{};
}

std::string value_text(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  std::string type = option.get_type_name(), text;
  if (const auto choices = choices_of(option); !choices.empty()) {
    text = fmt::format("{}", fmt::join(choices, "|"));
  } else {
    const size_t open = type.find('['), close = type.find(']');
    const bool number = type.starts_with("INT") || type.starts_with("UINT") || type.starts_with("FLOAT");
    text = option.get_positional() ? "" : number ? "N" : "TEXT";
    if (open != type.npos && close != type.npos)
      if (const size_t dash = type.find(" - ", open); dash != type.npos)
        text += " in " + type.substr(open + 1, dash - open - 1) + ".." + type.substr(dash + 3, close - dash - 3);
  }
  if (!option.get_default_str().empty()) text += (text.empty() ? "default " : ", default ") + option.get_default_str();
  return text;
}

std::shared_ptr<CLI::FormatterBase> help_formatter() { return std::make_shared<HelpFormatter>(); }

void set_help(CLI::App& app, const std::string& about, const std::vector<std::string>& examples) {
  std::string footer = about + (examples.size() == 1 ? "\n\nExample:" : "\n\nExamples:");
  for (const auto& example : examples) footer += "\n  " + example;
  app.footer(footer);
}

}  // namespace dyadic::cli
