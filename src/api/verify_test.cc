// What `verify` compares, on the small committed model: hashes, lone composites, planted faults.
#include "api/verify.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "api/fault_analysis.h"
#include "api/verify_backends.h"
#include "base/hash.h"
#include "runtime/container.h"
#include "support.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

const std::string kGolden = test::source_path("models/golden/tiny.dyad");

std::shared_ptr<const Model> golden() {
  static const auto model = load_model(kGolden);
  return model;
}

TEST(VerifyTexts, CoverTheLengthsThatMatter) {
  const auto texts = verification_texts(*golden(), 3);
  EXPECT_EQ(texts.size(), 64u);
  std::set<size_t> lengths;
  size_t tokens = 0;
  for (const auto& text : texts) {
    lengths.insert(text.size());
    tokens += text.size();
  }
  const auto capacity = static_cast<size_t>(golden()->symbols.at("L").maximum);
  EXPECT_EQ(*lengths.rbegin(), capacity);
  for (const size_t length : {1, 2, 3, 5, 7, 31, 64, 113, 128})
    EXPECT_TRUE(length > capacity || lengths.count(length)) << length;
  EXPECT_GT(tokens, 2000u);
}

uint64_t fnv1a(const std::string& bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// The hash as its definition says it, from one text at a time.
TEST(VerifyHash, IsFnv1aOverTheHashesOfOutputsOverCodesInTheOrderOfTexts) {
  const VerifyReport report = verify_model_file({.model = kGolden, .seed = 4});
  ASSERT_TRUE(report.equal);
  const Graph& main = golden()->main();
  std::vector<std::vector<std::string>> bytes(main.nodes.size());
  for (size_t n = 0; n < main.nodes.size(); ++n) bytes[n].resize(main.nodes[n].outputs.size());
  Session session(golden(), {Backend::kTile});
  for (const auto& text : verification_texts(*golden(), 4))
    session.run(pack_tokens(std::span(&text, 1)).feeds, [&](const Node& node, size_t output, const TensorView& view) {
      for (int64_t i = 0; i < view.count(); ++i) {
        const auto code =
            static_cast<uint64_t>(view.type == DataType::kI8 ? view.as<int8_t>()[i] : view.as<int16_t>()[i]);
        for (int b = 0; b < bits(view.type); b += 8)
          bytes[&node - main.nodes.data()][output] += static_cast<char>(code >> b & 255);
      }
    });
  for (size_t n = 0; n < main.nodes.size(); ++n) {
    std::string hashes;
    for (const std::string& output : bytes[n]) {
      const uint64_t hash = fnv1a(output);
      for (int b = 0; b < 64; b += 8) hashes += static_cast<char>(hash >> b & 255);
    }
    for (const auto& [backend, found] : report.layers[n].hashes)
      EXPECT_EQ(found, hex64(fnv1a(hashes))) << main.nodes[n].name << ' ' << backend;
  }
}

TEST(LoneComposite, ComputesWhatItComputesWithinItsModel) {
  const auto proof = prove_model(*golden());
  const Graph& main = golden()->main();
  std::vector<std::vector<int32_t>> texts = {{5, 6, 7}, {8}, {9, 10, 11, 12, 13}};
  Feeds values = pack_tokens(texts).feeds;
  Session whole(golden(), {Backend::kKernels});
  whole.run(values, [&](const Node& node, size_t output, const TensorView& view) {
    Tensor copy(view.type, view.dims);
    std::copy_n(view.data, copy.bytes(), copy.mutable_raw());
    values[main.value(node.outputs[output]).name] = copy;
  });
  for (size_t n = 0; n < main.nodes.size(); ++n) {
    const LoneComposite lone = isolate(*golden(), main.nodes[n], proof[n]);
    Feeds feeds;
    for (const ValueId id : lone.model->main().inputs) {
      const std::string& name = lone.model->main().value(id).name;
      feeds[name] = values.at(name);
    }
    Session session(lone.model, {.proof = lone.proof});
    for (const auto& [name, output] : session.run(feeds)) EXPECT_EQ(output, values.at(name)) << name;
  }
}

TEST(LoneComposite, ExtremeFeedsReachTheEndsAndEveryTableRow) {
  const auto proof = prove_model(*golden());
  const Graph& main = golden()->main();
  for (size_t n = 0; n < main.nodes.size(); ++n) {
    const LoneComposite lone = isolate(*golden(), main.nodes[n], proof[n]);
    const auto all = extreme_feeds(lone, 1);
    for (const DataInput& input : data_inputs(lone)) {
      if (input.role == InputRole::kStart || input.role == InputRole::kLength) continue;
      std::set<int64_t> seen;
      for (const Feeds& feeds : all) {
        const auto codes = feeds.at(lone.model->main().value(lone.node().inputs[input.input]).name).to_int64();
        seen.insert(codes.begin(), codes.end());
      }
      EXPECT_EQ(*seen.begin(), input.range.lo) << lone.node().name;
      EXPECT_EQ(*seen.rbegin(), input.range.hi) << lone.node().name;
      if (input.role == InputRole::kIndex) {
        EXPECT_EQ(static_cast<int64_t>(seen.size()), input.range.hi - input.range.lo + 1) << lone.node().name;
      }
    }
  }
}

TEST(Inject, FindsEveryFaultOfEveryKindAndSaysHow) {
  VerifyReport report = verify_model_file({.model = kGolden, .seed = 11, .inject = 150});
  ASSERT_TRUE(report.inject.has_value());
  const InjectReport& inject = *report.inject;
  EXPECT_EQ(inject.planted, 150);
  EXPECT_EQ(inject.found, 150);
  for (const PlantedFault& f : inject.missed)
    ADD_FAILURE() << f.layer << ' ' << f.constant << ' ' << f.byte << ' ' << f.bit;
  std::set<std::string> layers, backends, constants;
  for (const PlantedFault& f : inject.faults) {
    layers.insert(f.layer);
    backends.insert(f.backend);
    constants.insert(f.constant);
  }
  EXPECT_GE(layers.size(), 8u);
  EXPECT_GE(backends.size(), 4u);
  EXPECT_TRUE(constants.count("weight") && constants.count("token_codes"));
  EXPECT_GT(inject.found_by.at("extreme codes"), 100);
  for (const PlantedFault& f : inject.equivalent) EXPECT_FALSE(f.found_by.empty()) << f.constant;
}

std::shared_ptr<const Model> golden_q15() {
  static const auto model = load_model(test::source_path("models/golden/tiny-q15.dyad"));
  return model;
}

// The composite with a parameter of this name, and the same with `mask` flipped in one element.
struct Changed {
  LoneComposite clean, faulty;
  size_t input = 0;
};
Changed change(const std::string& parameter, int64_t element, int64_t mask,
               const std::shared_ptr<const Model>& model = golden()) {
  const auto proof = prove_model(*model);
  const Graph& main = model->main();
  for (size_t n = 0; n < main.nodes.size(); ++n) {
    const Graph& body = model->body(main.nodes[n]).graph;
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      if (body.value(body.inputs[i]).name != parameter) continue;
      const LoneComposite clean = isolate(*model, main.nodes[n], proof[n]);
      const Tensor& before = main.value(main.nodes[n].inputs[i]).constant;
      Tensor after(before.type(), before.dims());
      std::copy_n(before.raw(), before.bytes(), after.mutable_raw());
      after.set(element, after.at(element) ^ mask);
      return {clean, with_parameter(clean, i, after), i};
    }
  }
  fail(ErrorKind::kFailed, "no parameter ", parameter);
}

TEST(FaultAnalysis, ProvesThatATableEntryOfNoCodeCannotShow) {
  const Changed c = change("tables", 0, 1);
  EXPECT_THAT(analyse_fault(c.clean, c.faulty, c.input, 0, 1).equivalent, testing::HasSubstr("does not occur"));
}

TEST(FaultAnalysis, AimsRowsAtTheLastBitOfABias) {
  for (const int64_t channel : {0, 50, 191}) {
    const Changed c = change("bias", channel, 1);
    const FaultAnalysis analysis = analyse_fault(c.clean, c.faulty, c.input, channel, 1);
    EXPECT_EQ(analysis.equivalent, "");
    ASSERT_EQ(analysis.aimed.size(), 1u);
    Session clean(c.clean.model, {.proof = c.clean.proof}), faulty(c.faulty.model, {.proof = c.faulty.proof});
    EXPECT_TRUE(first_difference(c.clean, clean.run(analysis.aimed[0]), faulty.run(analysis.aimed[0]))) << channel;
  }
}

TEST(FaultAnalysis, IsNeverWrongAboutWhatCannotShow) {
  // Of the low bits of multipliers, those that are called equivalent change nothing on many rows.
  int equivalent = 0;
  for (int64_t channel = 0; channel < 64; channel += 4) {
    const Changed c = change("m", channel, 2);
    if (analyse_fault(c.clean, c.faulty, c.input, channel, 1).equivalent.empty()) continue;
    ++equivalent;
    Session clean(c.clean.model, {.proof = c.clean.proof}), faulty(c.faulty.model, {.proof = c.faulty.proof});
    for (const CodeSpread spread : kCodeSpreads) {
      const Feeds feeds = random_feeds(c.clean, 2000, spread, test::seed());
      EXPECT_FALSE(first_difference(c.clean, clean.run(feeds), faulty.run(feeds))) << channel;
    }
  }
  EXPECT_GT(equivalent, 0);
}

TEST(FaultAnalysis, SeesEveryBitOfANormInWords) {
  for (const char* parameter : {"out0_m", "out0_beta", "out1_m", "out1_beta"})
    for (int64_t channel = 0; channel < 64; channel += 7) {
      const Changed c = change(parameter, channel, 1, golden_q15());
      EXPECT_EQ(analyse_fault(c.clean, c.faulty, c.input, channel, 1).equivalent, "") << parameter << ' ' << channel;
    }
}

TEST(Inject, IsTheSameForTheSameSeed) {
  const auto proof = std::make_shared<const std::vector<Ranges>>(prove_model(*golden()));
  std::vector<VerifyBackend> backends = {{"tile", {Backend::kTile, Isa::kPortable, 1, {}, proof}, kMixedBatch},
                                         {"kernels", {Backend::kKernels, Isa::kPortable, 1, {}, proof}, kMixedBatch}};
  CompositeCase c{isolate(*golden(), golden()->main().nodes[1], proof->at(1)), {}, {}};
  c.feeds = extreme_feeds(c.composite, 1);
  Session evaluator(c.composite.model, {.backend = Backend::kEvaluator, .proof = c.composite.proof});
  for (const Feeds& feeds : c.feeds) c.expected.push_back(evaluator.run(feeds));
  const auto draw = [&](uint64_t seed) {
    std::string text;
    for (const PlantedFault& f : inject_faults(std::vector{c}, backends, 8, seed).faults)
      text += cat(f.backend, ' ', f.constant, ' ', f.byte, ' ', f.bit, '\n');
    return text;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

}  // namespace
}  // namespace dyadic
