// The kernel of every instruction set: parameters packed once, panels outside and tiles of rows inside, so that a panel
// stays in the first-level cache; each tile of sums goes through a small buffer to its epilogue. Product and epilogue
// know nothing of each other but the order of the columns.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "base/buffer.h"
#include "base/status.h"
#include "kernels/dot/panels.h"
#include "kernels/linear/epilogue.h"
#include "kernels/linear/linear.h"

namespace dyadic {
namespace {

constexpr int64_t kMaxBlockColumns = 128;
constexpr int64_t kBatchTiles = 8;  // whose sums one call of the epilogue takes: its parameters are read once

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The parameters of one column, see RequantizeForm.
struct ColumnParameters {
  RequantizeForm form;
  int32_t m, round, shift, preshift;
};

// mul_shift(acc, m, s) + zero_point = (acc * m + 2^(s-1) + zero_point * 2^s) >> s, the fastest exact way; `magnitude`
// bounds |acc|. The zero point is a multiple of 2^s that passes through the shift. Nothing where 32 bits do not hold
// it.
//
// In 32 bits where the sum is proved to fit.
std::optional<ColumnParameters> product32(int64_t m, int s, int64_t zero_point, int64_t magnitude) {
  if (s > 31) return std::nullopt;
  const int64_t round = (s == 0 ? 0 : int64_t{1} << (s - 1)) + zero_point * (int64_t{1} << s);
  if (magnitude * std::abs(m) + std::abs(round) >= int64_t{1} << 31) return std::nullopt;
  return ColumnParameters{kProduct32, static_cast<int32_t>(m), static_cast<int32_t>(round), s, 0};
}

// After common factors 2^k of m and 2^s are taken out more of them fit, but shifts differ.
std::optional<ColumnParameters> reduced_product32(int64_t m, int s, int64_t zero_point, int64_t magnitude) {
  if (m == 0) s = 0;
  for (; s > 0 && m % 2 == 0; --s) m /= 2;
  return product32(m, s, zero_point, magnitude);
}

// As one 32x32-bit product's high dword: with k = m_shift + preshift and t = s + k - 32 >= 1, ((acc << preshift) * (m
// << m_shift) + 2^(s+k-1)) >> (s+k) equals (hi32(product) + 2^(t-1)) >> t, because 2^(s+k-1) is a multiple of 2^32 and
// floors compose.
std::optional<ColumnParameters> high_dword(int64_t m, int s, int64_t zero_point, int64_t magnitude) {
  if (m == 0) s = 33;
  const int missing = std::max(0, 33 - s);
  const int headroom = m == 0 ? 0 : std::max(0, 30 - log2_floor(std::abs(m)));
  const int m_shift = std::min(missing, headroom), preshift = missing - m_shift;
  const int t = s + missing - 32;
  const int64_t offset = zero_point * (int64_t{1} << t);
  if (preshift > 31 || magnitude << preshift >= int64_t{1} << 31 || std::abs(offset) > 1 << 29) return std::nullopt;
  return ColumnParameters{preshift == 0 ? kHighDword : kHighDwordShiftFirst,
                          static_cast<int32_t>(m * (int64_t{1} << m_shift)),
                          static_cast<int32_t>((int64_t{1} << (t - 1)) + offset), t, preshift};
}

// A run of a step's columns that goes to one output.
struct Segment {
  size_t output;
  int64_t column;        // of the output
  int64_t first, count;  // of the step
};

// A run of a step's columns that shares a table.
struct StepTable {
  int64_t table;
  uint8_t mask[kMaxEpilogueColumns];
};

constexpr RequantizeForm kExact = kRequantizeForms;  // scalar, in 64 bits

// One step of the epilogue: as many columns as LinearEpilogue takes.
struct Step {
  RequantizeForm form = kExact;
  std::optional<SumCodes> codes;  // the product makes the codes: 32-bit products, one rounding, whole panels
  std::vector<Segment> segments;  // none beyond the last column
  std::vector<StepTable> tables;
};

// Columns are taken by blocks, each a whole number of the product's panels and of the epilogue's steps.
class PackedLinear : public Kernel {
 public:
  PackedLinear(const KernelSpec& spec, const LinearEpilogue& epilogue, Isa isa)
      : isa_(isa),
        epilogue_(epilogue),
        p_(linear_parameters(spec)),
        wide_(p_.code == DataType::kI16),
        block_(std::lcm(panel_dot(isa, DataType::kI8, DataType::kI8).columns, epilogue.columns())),
        blocks_(ceil_div(p_.N, block_)),
        steps_(blocks_ * block_ / epilogue.columns()),
        columns_(steps_.size() * kColumnRows * epilogue.columns() * sizeof(int32_t)),
        tables_(p_.tables.defined() ? p_.tables.count() : 0) {
    DYADIC_CHECK(block_ <= kMaxBlockColumns);
    pack_weights();
    for (size_t step = 0; step < steps_.size(); ++step) {
      pack_columns(step);
      cut_outputs(step);
      mark_tables(step);
      find_codes(step);
    }
    p_.weight = Tensor();
    // A code's byte, read as unsigned, is its place in the packed table.
    for (int64_t i = 0; p_.tables.defined() && i < p_.tables.count(); ++i)
      tables_.as<int8_t>()[i] = p_.tables.data<int8_t>()[i ^ 128];
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int64_t T = inputs[0].dims[0];
    const int64_t threads = context.pool ? context.pool->threads() : 1;
    if (T == 0) return;
    // One thread takes all blocks of as many rows as caches allow. More threads get about four pieces each: first by
    // blocks, then by rows.
    const int64_t wanted = threads == 1 ? 1 : ceil_div(4 * threads, blocks_);
    const int64_t chunks = std::max(ceil_div(T, kChunkRows), std::min(wanted, ceil_div(T, dot().rows)));
    context.parallel_for(chunks * blocks_, 1, [&](int64_t begin, int64_t end, int worker) {
      std::byte* scratch = context.scratch.empty() ? nullptr : context.scratch[worker];
      while (begin < end) {
        const int64_t chunk = begin / blocks_, first = begin % blocks_, last = std::min(blocks_, first + end - begin);
        run_chunk(inputs[0], outputs, T * chunk / chunks, T * (chunk + 1) / chunks, first, last, scratch);
        begin += last - first;
      }
    });
  }

  size_t scratch_bytes(std::span<const Dims> inputs, int64_t) const override {
    return product_scratch_bytes(panels_, std::min(inputs[0][0], kChunkRows));
  }

  std::string describe() const override {
    std::string text = cat(dot().name, ", ", dot().rows, "x", dot().columns, " tile", panels_.note, "; requantize of ",
                           steps_.size(), " column groups:");
    const auto fused = std::count_if(steps_.begin(), steps_.end(), [](const Step& s) { return s.codes.has_value(); });
    const char* names[] = {"in 32 bits", "high-dword", "with the sum shifted first", "in 64 bits"};
    for (int form = kProduct32; form <= kExact; ++form)
      if (const auto n = std::count_if(steps_.begin(), steps_.end(), [&](const Step& s) { return s.form == form; }))
        text += cat(text.back() == ':' ? " " : ", ", n, " ", names[form]);
    return fused == 0 ? text : text + cat("; ", fused, " of them in registers");
  }

 private:
  const PanelDot& dot() const { return *panels_.dot; }
  // The column at position q of the accumulators, counted from the first step on; N or more where there is none.
  int64_t column_of(int64_t q) const {
    const int64_t width = epilogue_.columns();
    return q / width * width + epilogue_.column(wide_, static_cast<int>(q % width));
  }
  const int32_t* columns(size_t step) const {
    return columns_.as<int32_t>() + step * kColumnRows * epilogue_.columns();
  }

  void pack_weights() {
    std::vector<int64_t> order(blocks_ * block_);
    for (int64_t q = 0; q < blocks_ * block_; ++q) order[q] = column_of(q) < p_.N ? column_of(q) : -1;
    panels_ = pack_fastest(isa_, DataType::kI8, DataType::kI8, {p_.weight.raw(), p_.K, p_.K, order, p_.x_range});
    DYADIC_CHECK(block_ % dot().columns == 0);
    // A streamed block is the sums of one step.
    DYADIC_CHECK(!dot().stream || (dot().columns == block_ && epilogue_.columns() == block_));
    start_ = panels_.start;
    for (size_t q = 0; q < order.size(); ++q)
      if (order[q] >= 0)
        start_[q] = static_cast<int32_t>(static_cast<uint32_t>(start_[q]) + static_cast<uint32_t>(p_.bias[order[q]]));
  }

  // All columns of a step take one form: 32-bit products where every one of them may.
  void pack_columns(size_t step) {
    const int P = epilogue_.columns();
    std::vector<ColumnParameters> columns;
    for (const auto& parameters : {product32, reduced_product32, high_dword}) {
      columns.assign(P, {kProduct32, 0, 0, 0, 0});
      RequantizeForm form = kProduct32;
      for (int q = 0; q < P && form != kExact; ++q) {
        const int64_t n = column_of(step * P + q);
        if (n >= p_.N) continue;
        const auto found = parameters(p_.m[n], p_.s[n], p_.zero_point, p_.magnitude[n]);
        if (found) columns[q] = *found;
        form = found ? std::max(form, found->form) : kExact;
      }
      steps_[step].form = form;
      if (form != kExact) break;
    }
    int32_t* rows = columns_.as<int32_t>() + step * kColumnRows * P;
    for (int q = 0; q < P; ++q) {
      rows[kMultiplier * P + q] = columns[q].m;
      if (q % 2 == 1) rows[kOddMultiplier * P + q - 1] = columns[q].m;
      rows[kRound * P + q] = columns[q].round;
      rows[kShift * P + q] = columns[q].shift;
      rows[kPreshift * P + q] = columns[q].preshift;
      rows[kStart * P + q] = start_[step * P + q];
    }
    // A stream's sums lack what they should start from. In 32 bits (acc + start) m + round = acc m + (start m + round).
    for (int q = 0; dot().stream && steps_[step].form == kProduct32 && q < P; ++q)
      rows[kRound * P + q] =
          static_cast<int32_t>(static_cast<uint32_t>(columns[q].round) +
                               static_cast<uint32_t>(columns[q].m) * static_cast<uint32_t>(start_[step * P + q]));
  }

  void cut_outputs(size_t step) {
    const int64_t begin = step * epilogue_.columns(), end = begin + epilogue_.columns();
    int64_t start = 0;
    for (size_t j = 0; j < p_.splits.size(); start += p_.splits[j++]) {
      const int64_t first = std::max(begin, start), last = std::min(end, start + p_.splits[j]);
      if (first < last) steps_[step].segments.push_back({j, first - start, first - begin, last - first});
    }
  }

  void mark_tables(size_t step) {
    const int64_t begin = step * epilogue_.columns(), end = begin + epilogue_.columns();
    int64_t start = 0;
    for (size_t g = 0; g < p_.ends.size(); start = p_.ends[g++]) {
      const int64_t first = std::max(begin, start), last = std::min(end, p_.ends[g]);
      if (first >= last) continue;
      StepTable table{static_cast<int64_t>(g), {}};
      std::fill(table.mask + (first - begin), table.mask + (last - begin), 0xff);
      steps_[step].tables.push_back(table);
    }
  }

  void find_codes(size_t step) {
    const int P = epilogue_.columns();
    const int32_t *round = columns(step) + kRound * P, *shift = columns(step) + kShift * P;
    const auto alike = [&](const int32_t* x) { return std::all_of(x, x + P, [&](int32_t y) { return y == x[0]; }); };
    Step& s = steps_[step];
    if (dot().codes[wide_][1] && dot().columns == P && block_ == P && s.form == kProduct32 && s.segments.size() == 1 &&
        s.segments[0].count == P && alike(round) && alike(shift))
      s.codes = SumCodes{columns(step) + kMultiplier * P, round[0], shift[0], static_cast<int32_t>(p_.clamp.lo),
                         static_cast<int32_t>(p_.clamp.hi)};
  }

  // Where the codes of a step's only segment go.
  struct Place {
    std::byte* codes;
    int64_t ld;  // bytes
  };
  Place place(size_t step, std::span<const TensorView> outputs, int64_t row) const {
    const int64_t code_bytes = wide_ ? 2 : 1;
    const Segment& segment = steps_[step].segments.front();
    const int64_t ld = p_.splits[segment.output] * code_bytes;
    return {outputs[segment.output].data + row * ld + segment.column * code_bytes, ld};
  }

  // Rows [begin, end) of x with blocks [first, last).
  void run_chunk(const TensorView& x, std::span<const TensorView> outputs, int64_t begin, int64_t end, int64_t first,
                 int64_t last, std::byte* scratch) const {
    const int64_t rows = end - begin;
    const DotRows a = dot_rows(dot(), x.as<int8_t>() + begin * p_.K, p_.K, rows, p_.K, scratch);
    scratch += product_scratch_bytes(panels_, rows) - panels_.scratch_bytes();
    if (dot().stream) return stream_chunk(a, outputs, begin, rows, first, last);
    // The sums of a few tiles wait in the first-level cache for one call of the epilogue.
    alignas(64) int32_t sums[kBatchTiles * kMaxDotRows * kMaxBlockColumns];
    const DotTiles tiles(rows, dot().rows);
    // Weights of a network are far: those of other layers were read since the last time.
    const DotFetches fetches(panels_, tiles.count, true);
    const int64_t panels = block_ / dot().columns, steps = block_ / epilogue_.columns();
    for (int64_t block = first; block < last; ++block) {
      const int64_t next = std::min(block + 1, last - 1);
      const std::optional<SumCodes>& codes = steps_[block * steps].codes;
      for (int64_t tile = 0, done = 0; tile < tiles.count; tile += kBatchTiles) {
        int64_t batch_rows = 0;
        for (int64_t t = tile; t < std::min(tiles.count, tile + kBatchTiles); ++t) {
          const int64_t height = tiles.height(t);
          const DotRows a_tile = a.from(done + batch_rows);
          if (codes) {
            const Place to = place(block, outputs, begin + done + batch_rows);
            multiply_to_codes(panels_, block, a_tile, height, start_.data() + block * block_, *codes, wide_, to.codes,
                              to.ld, fetches.of(block, next, t));
          }
          for (int64_t p = 0; p < panels && !codes; ++p)
            multiply(panels_, block * panels + p, a_tile, height, start_.data() + block * block_ + p * dot().columns,
                     sums + batch_rows * block_ + p * dot().columns, block_,
                     fetches.of(block * panels + p, next * panels + p, t), scratch);
          batch_rows += height;
        }
        for (int64_t s = 0; s < steps; ++s)
          run_step(sums + s * epilogue_.columns(), batch_rows, block * steps + s, outputs, begin + done);
        done += batch_rows;
      }
    }
  }

  // The same with a product that hands out a block of sums, of one step, while it computes the next.
  void stream_chunk(DotRows a, std::span<const TensorView> outputs, int64_t begin, int64_t rows, int64_t first,
                    int64_t last) const {
    struct Chunk {
      const PackedLinear& kernel;
      std::span<const TensorView> outputs;
      int64_t row, block;
    } chunk{*this, outputs, begin, first};
    const auto take = [](void* self, const int32_t* block, int64_t row, int64_t rows, int64_t panel) {
      const Chunk& to = *static_cast<const Chunk*>(self);
      to.kernel.run_step(block, rows, to.block + panel, to.outputs, to.row + row);
    };
    stream(panels_, first, last - first, a, rows, take, &chunk);
  }

  void run_step(const int32_t* sums, int64_t rows, size_t step, std::span<const TensorView> outputs,
                int64_t row) const {
    const int64_t code_bytes = wide_ ? 2 : 1, P = epilogue_.columns();
    const std::vector<Segment>& segments = steps_[step].segments;
    if (segments.empty()) return;
    if (segments.front().count == P) {
      const Place to = place(step, outputs, row);
      return run_epilogue(sums, rows, step, to.codes, to.ld);
    }
    alignas(64) std::byte codes[kBatchTiles * kMaxDotRows * kMaxEpilogueColumns * 2];
    const int64_t ld = P * code_bytes;
    run_epilogue(sums, rows, step, codes, ld);
    for (const Segment& segment : segments)
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = (row + r) * p_.splits[segment.output] + segment.column;
        std::memcpy(outputs[segment.output].data + at * code_bytes, codes + r * ld + segment.first * code_bytes,
                    segment.count * code_bytes);
      }
  }

  void run_epilogue(const int32_t* sums, int64_t rows, size_t step, std::byte* codes, int64_t ld) const {
    const RequantizeForm form = steps_[step].form;
    if (!steps_[step].codes) {  // else they are there
      if (form == kExact)
        requantize_exact(sums, rows, step, codes, ld);
      else
        epilogue_.requantize[form][wide_](sums, block_, rows, columns(step), p_.clamp.lo, p_.clamp.hi, codes, ld);
    }
    for (const StepTable& t : steps_[step].tables)
      epilogue_.lookup(codes, ld, rows, tables_.as<int8_t>() + 256 * t.table, t.mask);
  }

  // For multipliers near or above 1, whose codes are hardly ever of use: scalar, but exact.
  void requantize_exact(const int32_t* sums, int64_t rows, size_t step, std::byte* codes, int64_t ld) const {
    const int P = epilogue_.columns();
    for (int64_t r = 0; r < rows; ++r)
      for (int q = 0; q < P; ++q) {
        const int c = epilogue_.column(wide_, q);
        const int64_t column = step * P + c;
        const int64_t start = dot().stream ? start_[step * P + q] : 0;
        const int64_t y = column < p_.N ? p_.requantize(sums[r * block_ + q] + start, column) : 0;
        if (wide_)
          reinterpret_cast<int16_t*>(codes + r * ld)[c] = static_cast<int16_t>(y);
        else
          reinterpret_cast<int8_t*>(codes + r * ld)[c] = static_cast<int8_t>(y);
      }
  }

  const Isa isa_;
  const LinearEpilogue& epilogue_;
  LinearParameters p_;
  const bool wide_;               // 16-bit codes
  const int64_t block_, blocks_;  // columns of a block, number of blocks
  std::vector<Step> steps_;
  Panels panels_;
  std::vector<int32_t> start_;  // [block][position]: what sums start from, the bias included
  AlignedBuffer columns_;       // i32 [step][kColumnRows][position]
  AlignedBuffer tables_;        // i8 [G,256] by the code's byte
};

}  // namespace

std::string linear_portable_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_portable_make(const KernelSpec& spec) {
  return std::make_unique<PackedLinear>(spec, kEpiloguePortable, Isa::kPortable);
}

std::string linear_avx2_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_avx2_make(const KernelSpec& spec) {
  return std::make_unique<PackedLinear>(spec, kEpilogueAvx2, Isa::kAvx2);
}

std::string linear_amx_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_amx_make(const KernelSpec& spec) {
  return std::make_unique<PackedLinear>(spec, kEpilogueAmx, Isa::kAmx);
}

std::string linear_avx512vnni_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_avx512vnni_make(const KernelSpec& spec) {
  return std::make_unique<PackedLinear>(spec, kEpilogueAvx512Vnni, Isa::kAvx512Vnni);
}

}  // namespace dyadic
