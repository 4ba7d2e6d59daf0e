// One Session used by many threads: runs take turns, results are those of one thread. scripts/test.sh also builds this
// test with ThreadSanitizer; it needs the runtime library only.
#include <numeric>
#include <thread>

#include "graph/ranges.h"
#include "kernels/kernel.h"
#include "runtime/container.h"
#include "runtime/session.h"
#include "support.h"

namespace dyadic {
namespace {

using Feeds = std::map<std::string, Tensor>;

Tensor i32(const std::vector<int32_t>& values) { return Tensor::from<int32_t>({std::ssize(values)}, values); }

// `lengths.size()` texts, packed; their tokens depend on `salt`.
Feeds texts(const std::vector<int32_t>& lengths, int salt) {
  std::vector<int32_t> token, position, start;
  for (const int32_t length : lengths) {
    start.push_back(static_cast<int32_t>(token.size()));
    for (int32_t i = 0; i < length; ++i) {
      token.push_back((i * 37 + salt * 101 + length) % 1000);
      position.push_back(i);
    }
  }
  const Tensor type = i32(std::vector<int32_t>(token.size()));
  return {{"token", i32(token)},
          {"position", i32(position)},
          {"type", type},
          {"start", i32(start)},
          {"length", i32(lengths)}};
}

TEST(Session, EightThreadsTakeTurns) {
  const auto model = load_model(test::source_path("models/golden/tiny.dyad"));
  Session session(model, {.threads = 2});
  session.set_profiling(true);
  // Other sizes, so that Plans are made while other threads wait.
  const std::vector<std::vector<int32_t>> shapes = {{5}, {1, 2, 3}, {40, 7}, {64}, {13, 13, 13, 13},
                                                    {2}, {33},      {9, 30}};
  std::vector<Feeds> feeds;
  std::vector<Tensor> expected;
  {
    Session alone(model, {});
    for (size_t t = 0; t < shapes.size(); ++t) {
      feeds.push_back(texts(shapes[t], static_cast<int>(t)));
      expected.push_back(alone.run(feeds[t]).at("embedding"));
    }
  }
  constexpr int kRounds = 4;
  std::vector<int> equal(shapes.size());
  std::vector<std::thread> threads;
  for (size_t t = 0; t < shapes.size(); ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        equal[t] += session.run(feeds[t]).at("embedding") == expected[t];
        EXPECT_EQ(session.times().size(), model->main().nodes.size());
        EXPECT_GT(session.arena_bytes(), 0);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(equal, testing::Each(kRounds));
}

// The way to run at the same time: a Session each, over one Model.
TEST(Session, EightSessionsOfOneModelRunAtOnce) {
  const auto model = load_model(test::source_path("models/golden/tiny.dyad"));
  const Feeds feeds = texts({11, 4}, 1);
  const Tensor expected = Session(model, {}).run(feeds).at("embedding");
  std::vector<int> equal(8);
  std::vector<std::thread> threads;
  for (int& mine : equal)
    threads.emplace_back([&] { mine = Session(model, {}).run(feeds).at("embedding") == expected; });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(equal, testing::Each(1));
}

TEST(Session, PackedByAnyNumberOfThreadsItIsTheSame) {
  const auto model = load_model(test::source_path("models/golden/tiny.dyad"));
  const Feeds feeds = texts({11, 4}, 1);
  const Tensor expected = Session(model, {}).run(feeds).at("embedding");
  auto proof = std::make_shared<std::vector<Ranges>>();
  prove_model(*model, [&](Ranges ranges) { proof->push_back(std::move(ranges)); });
  for (const int threads : {1, 2, 3, 16}) {
    EXPECT_EQ(Session(model, {.threads = threads}).run(feeds).at("embedding"), expected) << threads;
    EXPECT_EQ(Session(model, {.threads = threads, .proof = proof}).run(feeds).at("embedding"), expected) << threads;
  }
}

// What fails is said, and no thread is left behind, wherever it fails.
TEST(Session, AFailureWhilePackingIsThrown) {
  const auto good = load_model(test::source_path("models/golden/tiny.dyad"));
  const auto refused = [](const std::shared_ptr<const Model>& model, SessionOptions options) {
    try {
      Session(model, std::move(options));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  for (const int threads : {1, 16}) {
    auto unproved = std::make_shared<Model>(*good);  // a shift of the last norm is outside what its body takes
    for (Value& value : unproved->main().values)
      if (value.is_constant() && value.name.ends_with("layer.1/output/LayerNorm/out0_s"))
        value.constant = Tensor::from<uint8_t>({1}, {63});
    EXPECT_THAT(refused(unproved, {.threads = threads}), testing::HasSubstr("layer.1/output/LayerNorm"));
    size_t made = 0;
    SessionOptions options{.threads = threads};
    options.make_kernel = [&](const Node&, const Body&, const Ranges&, const std::vector<Tensor>&) {
      if (++made == 3) fail(ErrorKind::kContract, "no kernel today");
      return std::unique_ptr<Kernel>();
    };
    EXPECT_EQ(refused(good, options), "no kernel today");
  }
}

TEST(Session, AFailedRunLetsTheNextOneIn) {
  Session session(load_model(test::source_path("models/golden/tiny.dyad")), {});
  EXPECT_THROW(session.run({}), Error);
  EXPECT_NO_THROW(session.run(texts({3}, 0)));
}

}  // namespace
}  // namespace dyadic
