// Shell completion and the manual page, both made from the options that the program has, so that neither can go stale.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "commands.h"

namespace dyadic::cli {
namespace {

struct OptionInfo {
  std::vector<std::string> names;  // "-o", "--output"; of a positional its name alone
  std::string description, value;  // value as --help prints it
  std::vector<std::string> choices;
  bool positional = false, flag = false;
};

struct VerbInfo {
  std::string name, summary, footer;
  std::vector<OptionInfo> options;
};

OptionInfo describe(const CLI::Option& option) {
  OptionInfo info;
  info.positional = option.get_positional();
  info.description = option.get_description();
  info.flag = option.get_items_expected_max() == 0;
  info.value = value_text(option);
  info.choices = choices_of(option);
  if (info.positional) {
    info.names = {option.get_name(true, false)};
  } else {
    for (const auto& name : option.get_snames()) info.names.push_back("-" + name);
    for (const auto& name : option.get_lnames()) info.names.push_back("--" + name);
  }
  return info;
}

VerbInfo describe(const CLI::App& app) {
  VerbInfo info{app.get_name(), app.get_description(), app.get_footer(), {}};
  // What every verb ends with is said once.
  if (const CLI::App* parent = app.get_parent(); parent && info.footer.ends_with(parent->get_footer()))
    info.footer.resize(info.footer.size() - parent->get_footer().size());
  for (const CLI::Option* option : app.get_options()) info.options.push_back(describe(*option));
  return info;
}

// The whole program: its own options, then the verbs.
std::pair<VerbInfo, std::vector<VerbInfo>> describe_program(const CLI::App& verb) {
  const CLI::App& root = *verb.get_parent();
  std::vector<VerbInfo> verbs;
  for (const CLI::App* sub : root.get_subcommands([](const CLI::App*) { return true; }))
    verbs.push_back(describe(*sub));
  return {describe(root), verbs};
}

// `text` with a backslash before each of `special`.
std::string escape(const std::string& text, const std::string& special) {
  std::string result;
  for (const char c : text) {
    if (special.find(c) != special.npos) result += '\\';
    result += c;
  }
  return result;
}

std::string single_quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::vector<std::string> names_of(const std::vector<VerbInfo>& verbs) {
  std::vector<std::string> names;
  for (const auto& verb : verbs) names.push_back(verb.name);
  return names;
}

std::string bash(const VerbInfo& root, const std::vector<VerbInfo>& verbs) {
  std::vector<std::string> first = names_of(verbs);
  for (const auto& option : root.options) first.insert(first.end(), option.names.begin(), option.names.end());
  std::string values, words;
  for (const auto& verb : verbs) {
    std::vector<std::string> options, plain;
    for (const auto& option : verb.options) {
      auto& list = option.positional ? plain : options;
      const auto& offered = option.positional ? option.choices : option.names;
      list.insert(list.end(), offered.begin(), offered.end());
      if (option.positional || option.flag) continue;
      for (const auto& name : option.names)
        values += fmt::format("    {}:{}) words='{}' ;;\n", verb.name, name, fmt::join(option.choices, " "));
    }
    words += fmt::format("      {}:-*) words='{}' ;;\n", verb.name, fmt::join(options, " "));
    if (!plain.empty()) words += fmt::format("      {}:*) words='{}' ;;\n", verb.name, fmt::join(plain, " "));
  }
  return fmt::format(R"(# bash completion of dyadic, made by `dyadic completion bash`.
_dyadic() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '{}' -- "$word"))
    return
  fi
  # The value of an option; where no word is offered, bash completes file names.
  case $verb:$before in
{}    *) case $verb:$word in
{}      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _dyadic dyadic
)",
                     fmt::join(first, " "), values, words);
}

std::string zsh(const std::vector<VerbInfo>& verbs) {
  std::string list, cases;
  for (const auto& verb : verbs) {
    list += fmt::format("    {}\n", single_quoted(verb.name + ":" + escape(verb.summary, ":")));
    cases += fmt::format("    {})\n      _arguments -S", verb.name);
    for (const auto& option : verb.options) {
      const std::string about = escape(option.description, "[]:\\");
      const std::string value =
          option.choices.empty() ? ":_files" : fmt::format(":({})", fmt::join(option.choices, " "));
      if (option.positional) {
        cases += fmt::format(" \\\n        {}", single_quoted(":" + option.names[0] + value));
        continue;
      }
      for (const auto& name : option.names)
        cases +=
            fmt::format(" \\\n        {}", single_quoted(fmt::format("({}){}[{}]{}", fmt::join(option.names, " "), name,
                                                                     about, option.flag ? "" : ":value" + value)));
    }
    cases += " ;;\n";
  }
  return fmt::format(R"(#compdef dyadic
# zsh completion of dyadic, made by `dyadic completion zsh`.
_dyadic() {{
  local -a verbs=(
{}  )
  if ((CURRENT == 2)); then
    _describe verb verbs
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
{}  esac
}}
compdef _dyadic dyadic
)",
                     list, cases);
}

std::string fish(const std::vector<VerbInfo>& verbs) {
  std::string text = "# fish completion of dyadic, made by `dyadic completion fish`.\n";
  for (const auto& verb : verbs)
    text += fmt::format("complete -c dyadic -f -n __fish_use_subcommand -a {} -d {}\n", verb.name,
                        single_quoted(verb.summary));
  for (const auto& verb : verbs)
    for (const auto& option : verb.options) {
      text += fmt::format("complete -c dyadic -n '__fish_seen_subcommand_from {}'", verb.name);
      if (!option.positional)
        for (const auto& name : option.names)
          text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option.choices.empty())
        text += fmt::format(" -{} '{}'", option.positional ? "a" : "xa", fmt::join(option.choices, " "));
      else if (!option.flag)
        text += option.positional ? " -F" : " -rF";
      text += " -d " + single_quoted(option.description) + "\n";
    }
  return text;
}

int complete(const CLI::App& app, const std::string& shell) {
  const auto [root, verbs] = describe_program(app);
  fmt::print("{}", shell == "bash" ? bash(root, verbs) : shell == "zsh" ? zsh(verbs) : fish(verbs));
  return 0;
}

// Text of a manual page: no character means anything to roff.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n'))
      result += std::string("\\&") + c;
    else
      result += c;
  }
  return result;
}

std::string preformatted(const std::string& text) { return ".nf\n" + roff(text) + "\n.fi\n"; }

std::string synopsis(const VerbInfo& verb) {
  std::string line = "dyadic " + verb.name;
  for (const auto& option : verb.options)
    if (option.positional) line += " " + option.names[0];
  return line + " [OPTIONS]";
}

int manual(const CLI::App& app) {
  const auto [root, verbs] = describe_program(app);
  std::string page =
      ".TH DYADIC 1 \"\" \"Dyadic\" \"User Commands\"\n.SH NAME\ndyadic \\- integer\\-only neural networks\n"
      ".SH SYNOPSIS\n.nf\n";
  for (const auto& verb : verbs) page += roff(synopsis(verb)) + "\n";
  page += ".fi\n.SH DESCRIPTION\n" + preformatted(root.summary);
  for (const auto& verb : verbs) {
    std::string title = verb.name;
    std::transform(title.begin(), title.end(), title.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    page += fmt::format(".SH DYADIC {}\n{}.\n", title, roff(verb.summary));
    for (const auto& option : verb.options) {
      page += fmt::format(".TP\n\\fB{}\\fR{}\n{}.\n", roff(fmt::format("{}", fmt::join(option.names, ", "))),
                          roff(option.value.empty() ? "" : " " + option.value), roff(option.description));
    }
    page += ".PP\n" + preformatted(verb.footer);
  }
  page += ".SH EXIT STATUS AND ENVIRONMENT\n" + preformatted(root.footer);
  fmt::print("{}", page);
  return 0;
}

}  // namespace

Action add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "Which shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  set_help(
      app,
      "Prints a script that completes verbs, options and their values. It is made from this program's own options;\n"
      "an installation has it already.",
      {"source <(dyadic completion bash)", "dyadic completion zsh > ~/.zfunc/_dyadic",
       "dyadic completion fish > ~/.config/fish/completions/dyadic.fish"});
  return [&app, shell](const Common&) { return complete(app, *shell); };
}

Action add_man(CLI::App& app) {
  set_help(app, "Prints the manual page, in roff, of the program and all of its verbs.",
           {"dyadic man | man -l -", "dyadic man > dyadic.1"});
  return [&app](const Common&) { return manual(app); };
}

}  // namespace dyadic::cli
