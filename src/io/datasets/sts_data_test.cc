// The STS benchmark as published.
#include "io/datasets/text.h"
#include "support.h"

namespace dyadic {
namespace {

TEST(StsData, ReadsBothParts) {
  const auto dir = test::data_path("text/stsb");
  DYADIC_SKIP_WITHOUT(dir, "text/stsb is not below $DYADIC_DATA");
  const auto dev = read_sts(*dir + "/sts-dev.csv.zst");
  EXPECT_EQ(dev.size(), 1500u);
  EXPECT_EQ(dev[0].score, 5.0);
  EXPECT_EQ(dev[0].second, "A man wearing a hard hat is dancing.");
  const std::string train = *dir + "/sts-train.csv.zst";
  const auto pairs = read_sts(train);
  EXPECT_EQ(pairs.size(), 5749u);
  const int columns[] = {6, 7};
  const auto texts = read_columns(train, columns);
  ASSERT_EQ(texts.size(), 2 * pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    ASSERT_EQ(texts[2 * i], pairs[i].first);
    ASSERT_EQ(texts[2 * i + 1], pairs[i].second);
  }
}

}  // namespace
}  // namespace dyadic
