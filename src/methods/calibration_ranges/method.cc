#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "base/status.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

class MinMax : public RangeObserver {
 public:
  explicit MinMax(double headroom) : headroom_(headroom) {}
  void observe(std::span<const float> values) override {
    for (float v : values) {
      lo_ = std::min(lo_, v);
      hi_ = std::max(hi_, v);
    }
  }
  void merge(const RangeObserver& other) override {
    const auto& o = static_cast<const MinMax&>(other);
    lo_ = std::min(lo_, o.lo_);
    hi_ = std::max(hi_, o.hi_);
  }
  RealRange fit(Interval, bool) const override {
    if (lo_ > hi_) return {};
    return {std::min<double>(lo_, lo_ * headroom_), std::max<double>(hi_, hi_ * headroom_)};
  }
  size_t bytes() const override { return sizeof(*this); }

 private:
  double headroom_;
  float lo_ = std::numeric_limits<float>::infinity(), hi_ = -std::numeric_limits<float>::infinity();
};

// Counts of values in 2 * kHalf bins of width 2^exponent, centred on zero. A value outside doubles the width, which
// merges neighbouring bins; so the counts depend on the values only, never on their order or on how observers were
// merged.
class Histogram : public RangeObserver {
 public:
  static constexpr int kHalf = 2048;

  void observe(std::span<const float> values) override {
    for (float v : values) {
      if (v == 0) {
        ++zeros_;
        continue;
      }
      // The smallest exponent e with |v| < kHalf * 2^e.
      int e;
      std::frexp(std::fabs(v), &e);
      widen(e - 11);
      ++counts_[kHalf + static_cast<int>(std::floor(std::ldexp(static_cast<double>(v), -exponent_)))];
    }
  }
  void merge(const RangeObserver& other) override {
    const auto& o = static_cast<const Histogram&>(other);
    zeros_ += o.zeros_;
    if (o.exponent_ == kUnset) return;
    widen(o.exponent_);
    const int shift = exponent_ - o.exponent_;
    for (int b = -kHalf; b < kHalf; ++b) counts_[kHalf + (b >> std::min(shift, 30))] += o.counts_[kHalf + b];
  }
  size_t bytes() const override { return sizeof(*this); }

 protected:
  int64_t total() const {
    int64_t n = zeros_;
    for (int64_t c : counts_) n += c;
    return n;
  }
  double width() const { return exponent_ == kUnset ? 0 : std::ldexp(1.0, exponent_); }
  // Calls f(low, high, count) for every filled bin in ascending order; zeros are a bin of no width.
  template <class F>
  void for_each(F&& f) const {
    for (int b = -kHalf; b < kHalf; ++b) {
      if (b == 0 && zeros_) f(0.0, 0.0, zeros_);
      if (counts_[kHalf + b]) f(b * width(), (b + 1) * width(), counts_[kHalf + b]);
    }
  }

 private:
  static constexpr int kUnset = -100000;

  void widen(int exponent) {
    if (exponent_ == kUnset) {
      exponent_ = exponent;
      return;
    }
    for (; exponent_ < exponent; ++exponent_) {
      std::array<int64_t, 2 * kHalf> merged{};
      for (int b = -kHalf; b < kHalf; ++b) merged[kHalf + (b >> 1)] += counts_[kHalf + b];
      counts_ = merged;
    }
  }

  int exponent_ = kUnset;
  int64_t zeros_ = 0;
  std::array<int64_t, 2 * kHalf> counts_{};
};

class Percentile : public Histogram {
 public:
  explicit Percentile(double percent) : percent_(percent) {}
  RealRange fit(Interval, bool) const override {
    const double outside = static_cast<double>(total()) * (1 - percent_ / 100);
    double below = 0, above = static_cast<double>(total());
    std::optional<double> lo;
    double hi = 0;
    for_each([&](double low, double high, int64_t count) {
      below += static_cast<double>(count);
      if (!lo && below > outside) lo = low;
      if (above > outside) hi = high;
      above -= static_cast<double>(count);
    });
    return {std::min(lo.value_or(0), 0.0), std::max(hi, 0.0)};
  }

 private:
  double percent_;
};

class MeanSquaredError : public Histogram {
 public:
  RealRange fit(Interval codes, bool symmetric) const override {
    double lo = 0, hi = 0;
    for_each([&](double low, double high, int64_t) {
      lo = std::min(lo, low);
      hi = std::max(hi, high);
    });
    if (symmetric) hi = std::max(hi, -lo), lo = -hi;
    const double levels = static_cast<double>(codes.hi - codes.lo);
    RealRange best{lo, hi};
    double best_error = std::numeric_limits<double>::infinity();
    constexpr int kSteps = 100;
    for (int step = kSteps; step >= kSteps / 4; --step) {
      const double a = lo * step / kSteps, b = hi * step / kSteps, scale = (b - a) / levels;
      if (!(scale > 0)) break;
      double error = 0;
      for_each([&](double low, double high, int64_t count) {
        const double x = (low + high) / 2, y = std::clamp(a + std::round((x - a) / scale) * scale, a, b);
        error += static_cast<double>(count) * (x - y) * (x - y);
      });
      if (error < best_error) {
        best_error = error;
        best = {a, b};
      }
    }
    return best;
  }
};

std::unique_ptr<RangeObserver> make_min_max(const Part& part) {
  const double headroom = part.number("headroom", 1);
  if (!(headroom >= 1 && headroom <= 1024))
    fail(ErrorKind::kMalformed, "min-max: headroom must be 1..1024, not ", headroom);
  return std::make_unique<MinMax>(headroom);
}

std::unique_ptr<RangeObserver> make_percentile(const Part& part) {
  const double percent = part.number("percent", 99.99);
  if (!(percent > 50 && percent <= 100))
    fail(ErrorKind::kMalformed, "percentile: percent must be above 50 and at most 100, not ", percent);
  return std::make_unique<Percentile>(percent);
}

std::unique_ptr<RangeObserver> make_mse(const Part&) { return std::make_unique<MeanSquaredError>(); }

template <std::unique_ptr<RangeObserver> (*make)(const Part&)>
FitPart fit(PartInfo info) {
  info.check = [](const Part& part) { make(part); };
  return {std::move(info), make};
}

}  // namespace

void register_calibration_ranges(Registry& registry) {
  registry.add_default(
      fit<make_min_max>({"min-max",
                         "the smallest and largest value seen, times a headroom",
                         "Jacob et al. 2018, arXiv:1712.05877",
                         {{"headroom", "factor 1..1024 for values not seen in calibration, default 1"}}}));
  registry.add(fit<make_percentile>({"percentile",
                                     "the range that leaves a share of the values outside on either side",
                                     "Wu et al. 2020, arXiv:2004.09602",
                                     {{"percent", "above 50, at most 100, default 99.99"}}}));
  registry.add(fit<make_mse>({"mse",
                              "the range whose codes have the least mean squared error, of 76 shrunken ranges",
                              "Choukroun et al. 2019, arXiv:1902.06822",
                              {}}));
}

}  // namespace dyadic
