#include "export/c/export_c.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

#include "base/hash.h"
#include "base/status.h"
#include "export/c/program.h"
#include "export/c/templates.h"
#include "graph/c_printer_writer.h"

namespace dyadic {

using namespace export_c_detail;  // NOLINT: this layer's own

namespace {

constexpr int64_t kLargestArrays = 4 << 20;

std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// Separated items in lines of at most 120 columns.
class Items {
 public:
  explicit Items(std::string indent, std::string separator = ",")
      : indent_(std::move(indent)), separator_(std::move(separator)) {}
  void add(const std::string& item) {
    if (text_.empty() || column_ + item.size() > 117) {
      text_ += (text_.empty() ? "" : separator_ + '\n') + indent_;
      column_ = indent_.size();
    } else {
      text_ += separator_ + ' ';
      column_ += separator_.size() + 1;
    }
    text_ += item;
    column_ += item.size();
  }
  const std::string& text() const { return text_; }

 private:
  const std::string indent_, separator_;
  std::string text_;
  size_t column_ = 0;
};

template <class Number>
std::string list(const std::vector<Number>& numbers, const std::string& indent = "    ") {
  Items items(indent);
  for (const Number n : numbers) items.add(CWriter::literal(n));
  return items.text();
}

std::string layer_title(const std::string& name) {  // as a string or comment of C
  std::string text;
  for (const char c : name) text += static_cast<unsigned char>(c) < 32 || std::strchr("\"\\?*", c) ? '_' : c;
  return text;
}

// What the templates call theirs.
std::set<std::string> reserved(const std::string& prefix) {
  return {"arena", "storage", "length",  "layers", "outputs",     "layer",    "tap",
          "run",   "context", "weights", "names",  "main",        "i",        "uintptr_t",
          "o",     "bytes",   "size",    "hash",   "byte",        "k",        "INT64_C",
          "VALUE", "WEIGHT",  "LINES",   "LATER",  "ARENA_BYTES", "uint64_t", prefix};
}

CProgram plan(const Model& model, const CExportOptions& options) {
  const std::string& prefix = options.prefix;
  std::set<std::string> none;
  const bool plain = std::all_of(prefix.begin(), prefix.end(),
                                 [](unsigned char c) { return std::islower(c) || std::isdigit(c) || c == '_'; });
  if (!plain || prefix.empty() || prefix.size() > 64 || std::isdigit(static_cast<unsigned char>(prefix[0])))
    fail(ErrorKind::kUsage, "--prefix '", prefix, "' must be a name in C of 1 to 64 lower-case letters, digits and _");
  if (prefix == "test" || prefix == "test_vectors" || c_identifier(prefix, none) != prefix)
    fail(ErrorKind::kUsage, "--prefix '", prefix, "' is a word of C or of the files that are written: choose another");
  return plan_program(model, options, reserved(prefix));
}

class Writer {
 public:
  Writer(const Model& model, const CExportOptions& options, const CTestVectors& vectors)
      : main_(model.main()),
        options_(options),
        vectors_(vectors),
        prefix_(options.prefix),
        macro_(upper(options.prefix)) {
    program_ = plan(model, options);
    binary_ = options.weights == CWeights::kBinary ||
              (options.weights == CWeights::kAuto && program_.weight_bytes > kLargestArrays);
    set_variables();
  }

  CExport write() const {
    CExport result;
    auto& files = result.files;
    files[prefix_ + ".h"] = instantiate(kCHeader, variables_);
    files[prefix_ + ".c"] = source();
    if (binary_) {
      files[prefix_ + ".bin"] = weight_file();
    } else {
      files[prefix_ + "_weights.h"] = weight_declarations();
      files[prefix_ + "_weights.c"] = weight_definitions();
    }
    files["test.c"] = instantiate(kCTestProgram, variables_);
    files["test_vectors.h"] = test_vectors();
    files["Makefile"] = instantiate(kCMakefile, variables_);
    files["README.txt"] = instantiate(kCReadme, variables_);
    result.arena_bytes = program_.arena_bytes;
    result.weight_bytes = program_.weight_bytes;
    result.bodies = static_cast<int64_t>(program_.functions.size());
    result.layers = static_cast<int64_t>(program_.layers.size());
    for (const char* ending : {".h", ".c"}) {
      const std::string& text = files.at(prefix_ + ending);
      result.source_lines += std::count(text.begin(), text.end(), '\n');
    }
    return result;
  }

 private:
  void set_variables() {
    for (const CInput& input : program_.inputs)
      if (input.source == CInput::Source::kCaller) caller_ = input;
    const Value &in = main_.value(caller_.value), &out = main_.value(main_.outputs[0]);
    std::set<std::string> taken = reserved(prefix_);
    Variables& v = variables_;
    const auto set = [&](const std::string& name, const auto&... text) { v[name] = cat(text...); };
    set("prefix", prefix_);
    set("include", "#include");
    set("MACRO", macro_);
    set("input", c_identifier(in.name, taken));
    set("input_type", CWriter::c_type(in.type));
    set("input_lo", caller_.range.lo);
    set("input_hi", caller_.range.hi);
    set("output", c_identifier(out.name, taken));
    set("OUTPUT", upper(v["output"]));
    set("output_type", CWriter::c_type(out.type));
    set("output_count", program_.extent(element_count(out.shape), "length"));
    set("output_size", program_.extent(element_count(out.shape), macro_ + "_MAX_LENGTH"));
    set("expected_size", program_.extent(element_count(out.shape), "(int64_t)lengths[t]"));
    set("meaning", meaning(out));
    set("max_length", options_.max_length);
    set("arena_bytes", program_.arena_bytes);
    set("weight_bytes", program_.weight_bytes);
    set("weight_hash", binary_ ? hex64(hash64(weight_file())) : "");
    set("layers", program_.layers.size());
    set("texts", vectors_.texts.size());
    set("objects", prefix_, ".o", binary_ ? "" : cat(' ', prefix_, "_weights.o"));
    set("sources", prefix_, ".c", binary_ ? "" : cat(" and ", prefix_, "_weights.c"));
    set("weights_header_file", binary_ ? "" : prefix_ + "_weights.h");
    set("weights_header", binary_ ? instantiate(kCWeightsHeader, v) : "");
    set("weights_text", instantiate(binary_ ? kCReadmeBinary : kCReadmeArrays, v));
    set("weights_call", binary_ ? instantiate(kCReadmeCall, v) : "");
    std::vector<int32_t> some = vectors_.texts.at(0);
    some.resize(std::min<size_t>(some.size(), 8));
    set("example_tokens", list(some, ""));
    set("example_length", some.size());
    std::vector<int64_t> counts;
    for (const CLayer& layer : program_.layers) counts.push_back(std::ssize(layer.node->outputs));
    set("output_counts", list(counts, "\n      "));
    set("max_outputs", *std::max_element(counts.begin(), counts.end()));
  }

  static std::string meaning(const Value& output) {
    const auto& e = output.encoding;
    if (!e || e->scale.size() != 1) return "";
    const int64_t zero = e->zero_point.empty() ? 0 : e->zero_point[0];
    return cat("; a code q is the real number ", shortest(e->scale[0]), " * ", zero ? cat("(q - ", zero, ")") : "q");
  }

  // ---- the model's source

  std::string source() const {
    std::string text = instantiate(kCSourceHead, variables_);
    if (!binary_) text += cat("#include \"", prefix_, "_weights.h\"\n");
    text += cat('\n', program_.functions.at(0).function.prelude, section("bodies: what a layer of each kind computes"));
    for (const CFunctionUse& use : program_.functions)
      text += cat("\n/* ", use.body, ", ", use.layers, use.layers == 1 ? " layer" : " layers", " */\nstatic ",
                  use.function.code);
    text += section("memory: values that are never alive together share bytes") + '\n' + arena();
    text += section("layers");
    for (const CLayer& layer : program_.layers) text += '\n' + call(layer);
    return text + '\n' + run();
  }

  static std::string section(const std::string& title) {
    return cat("\n/* ", std::string(30, '-'), ' ', title, " */\n");
  }

  std::string arena() const {
    std::string scratch;
    for (const CFunctionUse& use : program_.functions)
      if (!use.function.scratch.empty())
        scratch += cat("  scratch_of_", use.function.name, " =\n", sum_text(use.function.scratch), ",\n");
    std::string text = "#define LINES(bytes) (((bytes) + 63) / 64 * 64)\n#define LATER(a, b) ((a) > (b) ? (a) : (b))\n";
    if (!scratch.empty()) text += cat("enum { /* what bodies need while they run */\n", scratch, "};\n");
    text += "enum { /* where values and scratch lie */\n";
    for (size_t s = 0; s < program_.slots.size(); ++s) {
      std::string begin;
      for (const auto& [below, bytes] : program_.slots[s].behind) {
        const std::string bound = cat("AT_", below, " + ", bytes_text(bytes));
        begin = begin.empty() ? bound : cat("LATER(", begin, ",\n    ", bound, ")");
      }
      const bool is_end = s + 1 == program_.slots.size();
      text +=
          cat("  ", is_end ? "ARENA_BYTES" : cat("AT_", s), " = ", begin.empty() ? "0" : begin, is_end ? "\n" : ",\n");
    }
    text += "};\nstatic char storage[ARENA_BYTES + 64];\n#define VALUE(type, at) ((type *)(void *)(arena + (at)))\n";
    if (binary_)
      text +=
          "static const char *weights;\n"
          "#define WEIGHT(type, at) ((const type *)(const void *)(weights + (at)))\n";
    return text;
  }

  std::string bytes_text(const CBytes& bytes) const {
    return bytes.function < 0 ? lines_text(bytes.parts.at(0))
                              : "scratch_of_" + program_.functions[bytes.function].function.name;
  }

  std::string lines_text(const std::pair<Dim, int>& part) const {
    const std::string elements = program_.extent(part.first, macro_ + "_MAX_LENGTH");
    return cat("LINES(", part.second > 1 ? cat(elements, " * ", part.second) : elements, ")");
  }

  std::string sum_text(const std::vector<std::pair<Dim, int>>& parts) const {
    std::map<std::string, int> times;
    for (const auto& part : parts) ++times[lines_text(part)];
    Items terms("      ", " +");
    for (const auto& [lines, count] : times) terms.add(count > 1 ? cat(count, " * ", lines) : lines);
    return terms.text();
  }

  std::string value_text(ValueId id, bool is_const) const {
    return cat("VALUE(", is_const ? "const " : "", CWriter::c_type(main_.value(id).type), ", AT_",
               program_.slot_of.at(id), ")");
  }

  // The function of one layer: a call of its body with where its operands lie.
  std::string call(const CLayer& layer) const {
    const CFunction& body = program_.functions[layer.function].function;
    const Graph& formal = *program_.functions[layer.function].graph;
    Items arguments("      ");
    for (size_t i = 0; i < layer.node->inputs.size(); ++i) {
      const ValueId id = layer.node->inputs[i];
      const auto weight = program_.weight_of.find(id);
      if (weight == program_.weight_of.end()) {
        arguments.add(value_text(id, true));
        continue;
      }
      const CWeight& w = program_.weights[weight->second];
      arguments.add(binary_ ? cat("WEIGHT(", CWriter::c_type(w.tensor.type()), ", ", w.offset, " /* ",
                                  layer_title(formal.value(formal.inputs[i]).name), " */)")
                            : cat(prefix_, "_", w.name));
    }
    for (const ValueId id : layer.node->outputs) arguments.add(value_text(id, false));
    bool uses_length = false;
    for (const std::string& symbol : body.symbols) {
      arguments.add(program_.extent(Dim(symbol), "length"));
      uses_length |= program_.symbols.at(symbol) == Extent::kLength;
    }
    arguments.add(body.scratch.empty() ? "0" : cat("arena + AT_", layer.scratch));
    return cat("/* ", layer_title(layer.node->name), " */\nstatic void ", layer.name,
               "(char *arena, int64_t length) {\n", uses_length ? "" : "  (void)length;\n", "  ", body.name, "(\n",
               arguments.text(), ");\n}\n");
  }

  // Tables, and the steps around the layers.
  std::string run() const {
    Variables v = variables_;
    size_t first = 0;
    for (const CLayer& layer : program_.layers) {
      v["layer_rows"] += cat("    {", layer.name, ", ", first, ", ", layer.node->outputs.size(), "},\n");
      v["name_rows"] += cat("    \"", layer_title(layer.node->name), "\",\n");
      first += layer.node->outputs.size();
      for (const ValueId id : layer.node->outputs) {
        const Dim count = element_count(main_.value(id).shape);
        v["output_rows"] += cat("    {AT_", program_.slot_of.at(id), ", ", bits(main_.value(id).type) / 8, ", ",
                                program_.power(count) ? cat("0, ", count.factor) : cat(count.factor, ", 0"), "},\n");
      }
    }
    for (const CInput& input : program_.inputs) {
      const std::string at = value_text(input.value, false);
      switch (input.source) {
        case CInput::Source::kCaller:
          v["copies"] += cat("  memcpy(", at, ", ", v["input"], ", (size_t)length * 4);\n");
          break;
        case CInput::Source::kPosition:
          v["copies"] += cat("  for (i = 0; i < length; ++i) ", at, "[i] = (int32_t)i;\n");
          break;
        case CInput::Source::kZero:
          v["copies"] += cat("  memset(", at, ", 0, (size_t)",
                             program_.extent(main_.value(input.value).shape[0], "length"), " * 4);\n");
          break;
        case CInput::Source::kLength:
          v["copies"] += cat("  *", at, " = length;\n");
          break;
      }
    }
    const ValueId out = main_.outputs[0];
    v["results"] = cat("  memcpy(", v["output"], ", ", value_text(out, true), ", (size_t)(", v["output_count"], " * ",
                       bits(main_.value(out).type) / 8, "));\n");
    v["use_weights"] = binary_ ? instantiate(kCUseWeights, v) : "";
    v["weights_check"] = binary_ ? cat("  if (!weights) return ", macro_, "_BAD_WEIGHTS;\n") : "";
    return instantiate(kCRun, v);
  }

  // ---- weights

  std::string weight_file() const {
    std::string bytes(static_cast<size_t>(program_.weight_bytes), '\0');
    for (const CWeight& w : program_.weights)
      if (w.tensor.bytes() > 0)
        std::memcpy(bytes.data() + w.offset, w.tensor.raw(), static_cast<size_t>(w.tensor.bytes()));
    return bytes;
  }

  std::string declaration(const CWeight& w) const {
    return cat("const ", CWriter::c_type(w.tensor.type()), ' ', prefix_, '_', w.name, '[',
               std::max<size_t>(stored(w).size(), 1), ']');
  }

  // Codes of less than a byte stay packed, as bodies take them.
  static std::vector<int64_t> stored(const CWeight& w) {
    if (!is_packed(w.tensor.type())) return w.tensor.to_int64();
    const auto* bytes = reinterpret_cast<const uint8_t*>(w.tensor.raw());
    return {bytes, bytes + w.tensor.bytes()};
  }

  std::string weight_declarations() const {
    std::string text = instantiate(kCWeightDeclarations, variables_);
    for (const CWeight& w : program_.weights) text += cat("extern ", declaration(w), ";\n");
    return text + "\n#endif\n";
  }

  std::string weight_definitions() const {
    std::string text = cat("#include \"", prefix_, "_weights.h\"\n");
    for (const CWeight& w : program_.weights) {
      const auto codes = stored(w);
      text += cat("\n/* ", to_string(to_shape(w.tensor.dims())), " */\n", declaration(w), " = {\n",
                  codes.empty() ? "    0" : list(codes), "};\n");
    }
    return text;
  }

  std::string test_vectors() const {
    std::vector<int64_t> lengths, tokens;
    for (const auto& text : vectors_.texts) {
      lengths.push_back(std::ssize(text));
      tokens.insert(tokens.end(), text.begin(), text.end());
    }
    Variables v = variables_;
    v["lengths"] = list(lengths);
    v["token_count"] = cat(tokens.size());
    v["tokens"] = list(tokens);
    v["expected_count"] = cat(vectors_.expected.size());
    v["expected"] = list(vectors_.expected);
    for (const uint64_t hash : vectors_.layer_hashes) v["hashes"] += cat("    UINT64_C(0x", hex64(hash), "),\n");
    return instantiate(kCTestVectors, v);
  }

  const Graph& main_;
  const CExportOptions& options_;
  const CTestVectors& vectors_;
  const std::string prefix_, macro_;
  CProgram program_;
  CInput caller_;
  bool binary_ = false;
  Variables variables_;
};

}  // namespace

void check_exportable(const Model& model, const CExportOptions& options) { plan(model, options); }

CExport export_c(const Model& model, const CExportOptions& options, const CTestVectors& vectors) {
  return Writer(model, options, vectors).write();
}

}  // namespace dyadic
