// The public headers, as a program that has nothing else uses them.
#include <dyadic/model.h>
#include <dyadic/quantize.h>
#include <dyadic/session.h>
#include <dyadic/text_encoder.h>

#include <fstream>

#include "support.h"

namespace {
namespace api = dyadic::v1;
using dyadic::test::source_path;
using testing::HasSubstr;

const std::string kTiny = source_path("models/tiny-encoder");
const std::string kSentences = source_path("examples/sentences.txt");
const std::vector<std::string> kTexts = {"A man is eating food.", "", "The stock market fell."};

const std::string& tiny_dyad() {
  static const std::string path = [] {
    const std::string made = dyadic::test::temporary_dir() + "/tiny.dyad";
    api::QuantizeOptions options;
    options.sample = 64;
    options.require_integer = true;
    const api::QuantizeReport report = api::quantize(kTiny, kSentences, made, options);
    EXPECT_EQ(report.recipe, "default");
    EXPECT_TRUE(report.islands.empty());
    EXPECT_EQ(report.calibration_texts, 64);
    EXPECT_LT(report.bytes_after, report.bytes_before);
    EXPECT_GT(report.held_back_texts, 0);
    EXPECT_GT(report.mean_cosine, 0.97);
    EXPECT_LE(report.min_cosine, report.mean_cosine);
    return made;
  }();
  return path;
}

template <class F>
void expect_error(api::ErrorKind kind, const std::string& message, F&& f) {
  try {
    f();
    ADD_FAILURE() << "no error: " << message;
  } catch (const api::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

TEST(PublicTensor, HoldsWhatItWasGiven) {
  const api::Tensor t({2, 3}, std::vector<int16_t>{1, -2, 3, 4, 5, -32768});
  EXPECT_EQ(t.type(), api::DataType::kI16);
  EXPECT_EQ(std::string(api::name(t.type())), "i16");
  EXPECT_EQ(t.count(), 6);
  EXPECT_EQ(t.bytes().size(), 12u);
  EXPECT_EQ(t.at(5), -32768);
  EXPECT_EQ(t.data<int16_t>()[1], -2);
  EXPECT_EQ(api::Tensor(api::DataType::kU32, {}).count(), 1);
  EXPECT_EQ(api::Tensor().count(), 0);
  api::Tensor copy = t;
  copy.data<int16_t>()[0] = 9;
  EXPECT_EQ(t.at(0), 1);
  expect_error(api::ErrorKind::kUsage, "not i8", [&] { t.data<int8_t>(); });
  expect_error(api::ErrorKind::kUsage, "element 6 of 6", [&] { t.at(6); });
  expect_error(api::ErrorKind::kUsage, "element -1", [&] { t.at(-1); });
  expect_error(api::ErrorKind::kUsage, "negative", [] { api::Tensor(api::DataType::kI8, {3, -1}); });
  expect_error(api::ErrorKind::kUsage, "differ", [] { api::Tensor({2}, std::vector<int8_t>{1}); });
  expect_error(api::ErrorKind::kUsage, "too large", [] { api::Tensor(api::DataType::kI64, {int64_t{1} << 61}); });
  EXPECT_THROW(api::Tensor(api::DataType::kI64, {int64_t{1} << 40, int64_t{1} << 40}), api::Error);
}

TEST(PublicModel, SaysWhatItTakesAndGives) {
  const api::Model model = api::Model::open(tiny_dyad());
  std::map<std::string, std::vector<std::string>> shapes;
  for (const auto& input : model.inputs()) {
    EXPECT_EQ(input.type, api::DataType::kI32);
    shapes[input.name] = input.shape;
  }
  EXPECT_EQ(shapes.at("token"), std::vector<std::string>{"T"});
  EXPECT_EQ(shapes.at("length"), std::vector<std::string>{"B"});
  ASSERT_EQ(model.outputs().size(), 1u);
  EXPECT_EQ(model.outputs()[0].shape, (std::vector<std::string>{"B", "64"}));
  EXPECT_GT(model.outputs()[0].encoding.value().scale, 0);
  EXPECT_GE(model.capacity().at("L"), 64);
  EXPECT_TRUE(model.islands().empty());
  EXPECT_EQ(model.metadata().at("recipe"), "default");
  EXPECT_THAT(model.assets(), testing::Contains("vocab.txt"));
  EXPECT_THAT(model.asset("vocab.txt"), HasSubstr("[CLS]"));
  expect_error(api::ErrorKind::kUsage, "'no'", [&] { model.asset("no"); });
}

TEST(PublicSession, EveryExecutorGivesTheCodesOfTheEncoder) {
  api::TextEncoder encoder(tiny_dyad());
  EXPECT_EQ(encoder.max_length(), 64);
  const api::Embeddings expected = encoder.embed(kTexts);
  ASSERT_EQ(expected.count(), 3);
  std::vector<std::vector<int32_t>> ids;
  for (const auto& text : kTexts) ids.push_back(encoder.tokenize(text));
  const api::Model model = api::Model::open(tiny_dyad());
  for (const auto executor :
       {api::Executor::kKernels, api::Executor::kPortable, api::Executor::kTile, api::Executor::kEvaluator}) {
    api::Session session(model, {.executor = executor, .threads = 2});
    const api::Tensor codes = session.run_tokens(ids);
    EXPECT_EQ(codes.dims(), (std::vector<int64_t>{3, 64}));
    EXPECT_EQ(api::dequantize(codes, *model.outputs()[0].encoding), expected.values);
    EXPECT_EQ(session.run_tokens({}).dims(), (std::vector<int64_t>{0, 64}));
    EXPECT_THAT(session.explain(), HasSubstr("encoder/layer.1"));
  }
}

TEST(PublicModel, NamesItsFloatIslands) {
  const std::string path = dyadic::test::temporary_dir() + "/int8.dyad";
  api::QuantizeOptions options;
  options.recipe = "int8";
  options.sample = 32;
  const api::QuantizeReport report = api::quantize(kTiny, kSentences, path, options);
  EXPECT_FALSE(report.islands.empty());
  EXPECT_EQ(api::Model::open(path).islands(), report.islands);
  EXPECT_EQ(api::TextEncoder(path).embed(kTexts).count(), 3);
}

TEST(PublicSession, RunsNamedTensors) {
  api::Session session(api::Model::open(tiny_dyad()));
  const auto i32 = [](std::vector<int32_t> values) {
    const auto count = static_cast<int64_t>(values.size());
    return api::Tensor({count}, values);
  };
  std::map<std::string, api::Tensor> inputs = {{"token", i32({2, 7, 3, 2, 3})},
                                               {"position", i32({0, 1, 2, 0, 1})},
                                               {"type", i32({0, 0, 0, 0, 0})},
                                               {"start", i32({0, 3})},
                                               {"length", i32({3, 2})}};
  const api::Tensor expected = session.run_tokens({{2, 7, 3}, {2, 3}});
  const api::Tensor codes = session.run(inputs).begin()->second;
  EXPECT_TRUE(std::ranges::equal(codes.bytes(), expected.bytes()));

  inputs.erase("length");
  expect_error(api::ErrorKind::kContract, "'length' is missing", [&] { session.run(inputs); });
  expect_error(api::ErrorKind::kContract, "outside", [&] { session.run_tokens({{2, 100000, 3}}); });
  expect_error(api::ErrorKind::kContract, "text 1 has no tokens", [&] { session.run_tokens({{2, 3}, {}}); });
  expect_error(api::ErrorKind::kContract, "", [&] { session.run_tokens({std::vector<int32_t>(5000, 2)}); });
}

TEST(PublicSession, SiblingsShareAndSchedulesAgree) {
  const std::vector<std::vector<int32_t>> texts(50, {2, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3});
  api::Session session(api::Model::open(tiny_dyad()));
  const api::Tensor expected = session.run_tokens(texts);
  api::Session sibling = session.sibling(2);
  EXPECT_TRUE(std::ranges::equal(sibling.run_tokens(texts).bytes(), expected.bytes()));
  for (const api::Schedule schedule : {api::Schedule::kAuto, api::Schedule::kLatency, api::Schedule::kThroughput}) {
    api::Session other(session.model(), {.threads = 2, .schedule = schedule});
    EXPECT_TRUE(std::ranges::equal(other.run_tokens(texts).bytes(), expected.bytes()));
  }
  expect_error(api::ErrorKind::kUsage, "threads", [&] { session.sibling(0); });
}

TEST(PublicErrors, KeepKindAndMessage) {
  const std::string dir = dyadic::test::temporary_dir();
  std::ofstream(dir + "/bad.dyad") << "no model";
  expect_error(api::ErrorKind::kFailed, "absent.dyad", [&] { api::Model::open(dir + "/absent.dyad"); });
  expect_error(api::ErrorKind::kMalformed, "bad.dyad", [&] { api::Model::open(dir + "/bad.dyad"); });
  expect_error(api::ErrorKind::kMalformed, "bad.dyad", [&] { api::TextEncoder(dir + "/bad.dyad"); });
  expect_error(api::ErrorKind::kUsage, "threads", [&] { api::Session(api::Model::open(tiny_dyad()), {.threads = 0}); });
  api::QuantizeOptions options;
  options.recipe = "nonsense";
  expect_error(api::ErrorKind::kUsage, "default", [&] { api::quantize(kTiny, kSentences, dir + "/x.dyad", options); });
  expect_error(api::ErrorKind::kUsage, "scale", [] { api::dequantize(api::Tensor(), {.scale = 0}); });
  EXPECT_THAT(api::recipe_names(), testing::Contains("default"));
}

}  // namespace
