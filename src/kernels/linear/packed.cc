// The kernel of every instruction set that has a LinearTile: parameters packed once into panels, panels outside and
// tiles of rows inside, so that a panel stays in the first-level cache; each tile of sums goes through a small buffer
// to its epilogue.
#include <algorithm>
#include <cstring>
#include <optional>

#include "base/buffer.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/tile.h"

namespace dyadic {
namespace {

constexpr int64_t kChunkRows = 192;  // that pass through all panels together; a multiple of kTileRows

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// mul_shift(acc, m, s) + zero_point as one 32x32-bit product's high dword. With k = m_shift + acc_shift and
// t = s + k - 32 >= 1, ((acc << acc_shift) * (m << m_shift) + 2^(s+k-1)) >> (s+k) equals
// (hi32(product) + 2^(t-1)) >> t, because 2^(s+k-1) is a multiple of 2^32 and floors compose; the zero point is a
// multiple of 2^t that passes through the shift.
struct HighDword {
  int32_t m, round, shift, acc_shift;
};

// Nothing where the shifted operands do not fit 32 bits. `magnitude` bounds |acc|.
std::optional<HighDword> high_dword(int32_t m, int s, int64_t zero_point, int64_t magnitude) {
  if (m == 0) s = 33;
  const int missing = std::max(0, 33 - s);
  const int headroom = m == 0 ? 0 : std::max(0, 30 - log2_floor(std::abs(int64_t{m})));
  const int m_shift = std::min(missing, headroom), acc_shift = missing - m_shift;
  const int t = s + missing - 32;
  const int64_t offset = zero_point * (int64_t{1} << t);
  if (acc_shift > 31 || magnitude << acc_shift >= int64_t{1} << 31 || std::abs(offset) > 1 << 29) return std::nullopt;
  return HighDword{static_cast<int32_t>(m * (int64_t{1} << m_shift)),
                   static_cast<int32_t>((int64_t{1} << (t - 1)) + offset), t, acc_shift};
}

// A run of a panel's columns that goes to one output.
struct Segment {
  size_t output;
  int64_t column;        // of the output
  int64_t first, count;  // of the panel
};

// A run of a panel's columns that shares a table.
struct PanelTable {
  int64_t table;
  uint8_t mask[kMaxPanelColumns];
};

enum class Form { kHighDword, kHighDwordShiftFirst, kExact };

struct Panel {
  Form form = Form::kHighDword;
  std::vector<Segment> segments;
  std::vector<PanelTable> tables;
};

class PackedLinear : public Kernel {
 public:
  PackedLinear(const KernelSpec& spec, const LinearTile& isa)
      : isa_(isa),
        p_(linear_parameters(spec)),
        wide_(p_.code == DataType::kI16),
        groups_(ceil_div(p_.K, isa.group)),
        slice_bytes_(groups_ * isa.columns() / isa.slices * 4),
        panels_(ceil_div(p_.N, isa.columns())),
        weights_(panels_.size() * isa.slices * slice_bytes_),
        bias_(panels_.size() * isa.columns() * sizeof(int32_t)),
        columns_(panels_.size() * kColumnRows * isa.columns() * sizeof(int32_t)),
        tables_(p_.tables.defined() ? p_.tables.count() : 0) {
    for (size_t panel = 0; panel < panels_.size(); ++panel) {
      pack_weights(panel);
      pack_columns(panel);
      cut_outputs(panel);
      mark_tables(panel);
    }
    p_.weight = Tensor();
    // A code's byte, read as unsigned, is its place in the packed table.
    for (int64_t i = 0; p_.tables.defined() && i < p_.tables.count(); ++i)
      tables_.as<int8_t>()[i] = p_.tables.data<int8_t>()[i ^ 128];
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int64_t T = inputs[0].dims[0], panels = panels_.size();
    const int64_t threads = context.pool ? context.pool->threads() : 1;
    if (T == 0) return;
    // One thread takes all panels of as many rows as caches allow. More threads get about four pieces each: first by
    // panels, then by rows.
    const int64_t wanted = threads == 1 ? 1 : ceil_div(4 * threads, panels);
    const int64_t chunks = std::max(ceil_div(T, kChunkRows), std::min(wanted, ceil_div(T, kTileRows)));
    const auto body = [&](int64_t begin, int64_t end, int worker) {
      std::byte* scratch = packs_rows() ? context.scratch[worker] : nullptr;
      while (begin < end) {
        const int64_t chunk = begin / panels, first = begin % panels, last = std::min(panels, first + end - begin);
        run_chunk(inputs[0], outputs, T * chunk / chunks, T * (chunk + 1) / chunks, first, last, scratch);
        begin += last - first;
      }
    };
    if (context.pool)
      context.pool->parallel_for(chunks * panels, 1, body);
    else
      body(0, chunks * panels, 0);
  }

  size_t scratch_bytes(std::span<const Dims> inputs, int64_t) const override {
    return packs_rows() ? std::min(inputs[0][0], kChunkRows) * groups_ * 4 : 0;
  }

  std::string describe() const override {
    const auto count = [&](Form form) {
      return std::count_if(panels_.begin(), panels_.end(), [&](const Panel& p) { return p.form == form; });
    };
    return cat(kTileRows, "x", isa_.columns(), " tile; panels of ", panels_.size(), ": ", count(Form::kHighDword),
               " high-dword requantize, ", count(Form::kHighDwordShiftFirst), " with the sum shifted first, ",
               count(Form::kExact), " in 64 bits");
  }

 private:
  bool packs_rows() const { return !isa_.direct || p_.K % isa_.group != 0; }
  int64_t column_of(size_t panel, int q) const { return panel * isa_.columns() + panel_column(isa_.lanes, wide_, q); }
  std::byte* slice(size_t panel, int slice) { return weights_.data() + (panel * isa_.slices + slice) * slice_bytes_; }
  const std::byte* slice(size_t panel, int slice) const { return const_cast<PackedLinear*>(this)->slice(panel, slice); }
  const int32_t* columns(size_t panel) const { return columns_.as<int32_t>() + panel * kColumnRows * isa_.columns(); }

  void pack_weights(size_t panel) {
    const int width = isa_.columns() / isa_.slices;
    for (int q = 0; q < isa_.columns(); ++q) {
      const int64_t column = column_of(panel, q);
      if (column >= p_.N) continue;
      const int8_t* w = p_.weight.data<int8_t>() + column * p_.K;
      std::byte* to = slice(panel, q / width);
      int64_t sum = 0;
      for (int64_t k = 0; k < p_.K; ++k) {
        sum += w[k];
        const int64_t at = (k / isa_.group * width + q % width) * isa_.group + k % isa_.group;
        if (isa_.group == 4)
          reinterpret_cast<int8_t*>(to)[at] = w[k];
        else
          reinterpret_cast<int16_t*>(to)[at] = w[k];
      }
      bias_.as<int32_t>()[panel * isa_.columns() + q] =
          static_cast<int32_t>(static_cast<uint32_t>(p_.bias[column] - isa_.x_offset * sum));
    }
  }

  void pack_columns(size_t panel) {
    const int P = isa_.columns();
    int32_t* rows = columns_.as<int32_t>() + panel * kColumnRows * P;
    for (int q = 0; q < P; ++q) {
      const int64_t column = column_of(panel, q);
      if (column >= p_.N) continue;
      const auto form = high_dword(p_.m[column], p_.s[column], p_.zero_point, p_.magnitude[column]);
      if (!form) {
        panels_[panel].form = Form::kExact;
        return;
      }
      if (form->acc_shift > 0) panels_[panel].form = Form::kHighDwordShiftFirst;
      rows[kMultiplier * P + q] = form->m;
      if (q % 2 == 1) rows[kOddMultiplier * P + q - 1] = form->m;
      rows[kRound * P + q] = form->round;
      rows[kShift * P + q] = form->shift;
      rows[kPreshift * P + q] = form->acc_shift;
    }
  }

  void cut_outputs(size_t panel) {
    const int64_t begin = panel * isa_.columns(), end = begin + isa_.columns();
    int64_t start = 0;
    for (size_t j = 0; j < p_.splits.size(); start += p_.splits[j++]) {
      const int64_t first = std::max(begin, start), last = std::min(end, start + p_.splits[j]);
      if (first < last) panels_[panel].segments.push_back({j, first - start, first - begin, last - first});
    }
  }

  void mark_tables(size_t panel) {
    const int64_t begin = panel * isa_.columns(), end = begin + isa_.columns();
    int64_t start = 0;
    for (size_t g = 0; g < p_.ends.size(); start = p_.ends[g++]) {
      const int64_t first = std::max(begin, start), last = std::min(end, p_.ends[g]);
      if (first >= last) continue;
      PanelTable table{static_cast<int64_t>(g), {}};
      std::fill(table.mask + (first - begin), table.mask + (last - begin), 0xff);
      panels_[panel].tables.push_back(table);
    }
  }

  // Rows [begin, end) of x with panels [first, last).
  void run_chunk(const TensorView& x, std::span<const TensorView> outputs, int64_t begin, int64_t end, int64_t first,
                 int64_t last, std::byte* scratch) const {
    const int8_t* codes = x.as<int8_t>() + begin * p_.K;
    const std::byte* a = reinterpret_cast<const std::byte*>(codes);
    int64_t lda = p_.K;
    if (packs_rows()) {
      isa_.pack_rows(codes, p_.K, end - begin, p_.K, scratch);
      a = scratch;
      lda = groups_ * 4;
    }
    // Tiles of nearly equal height: a tile of one row costs as much as one of several.
    const int64_t rows = end - begin, tiles = ceil_div(rows, kTileRows);
    for (int64_t panel = first; panel < last; ++panel)
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t from = rows * tile / tiles, to = rows * (tile + 1) / tiles;
        // The first tile reads the panel, so it also fetches the next one.
        const int64_t wanted = tile == 0 && panel + 1 < last ? panel + 1 : panel;
        run_tile(a + from * lda, lda, to - from, panel, wanted, outputs, begin + from);
      }
  }

  void run_tile(const std::byte* a, int64_t lda, int64_t rows, size_t panel, size_t wanted,
                std::span<const TensorView> outputs, int64_t row) const {
    alignas(64) int32_t sums[kTileRows * kMaxPanelColumns];
    const int P = isa_.columns(), width = P / isa_.slices;
    const int32_t* bias = bias_.as<int32_t>() + panel * P;
    for (int s = 0; s < isa_.slices; ++s)
      isa_.dot[rows](a, lda, groups_, slice(panel, s), bias + s * width, sums + s * width, slice(wanted, s));

    const int64_t code_bytes = wide_ ? 2 : 1;
    const std::vector<Segment>& segments = panels_[panel].segments;
    if (segments.front().count == P) {
      const int64_t ld = p_.splits[segments.front().output] * code_bytes;
      std::byte* y = outputs[segments.front().output].data + row * ld + segments.front().column * code_bytes;
      return run_epilogue(sums, rows, panel, y, ld);
    }
    alignas(64) std::byte codes[kTileRows * kMaxPanelColumns * 2];
    const int64_t ld = P * code_bytes;
    run_epilogue(sums, rows, panel, codes, ld);
    for (const Segment& segment : segments)
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = (row + r) * p_.splits[segment.output] + segment.column;
        std::memcpy(outputs[segment.output].data + at * code_bytes, codes + r * ld + segment.first * code_bytes,
                    segment.count * code_bytes);
      }
  }

  void run_epilogue(const int32_t* sums, int64_t rows, size_t panel, std::byte* codes, int64_t ld) const {
    const Form form = panels_[panel].form;
    if (form == Form::kExact)
      requantize_exact(sums, rows, panel, codes, ld);
    else
      isa_.requantize[wide_][form == Form::kHighDwordShiftFirst](sums, rows, columns(panel), p_.clamp.lo, p_.clamp.hi,
                                                                 codes, ld);
    for (const PanelTable& t : panels_[panel].tables)
      isa_.lookup(codes, ld, rows, tables_.as<int8_t>() + 256 * t.table, t.mask);
  }

  // For multipliers near or above 1, whose codes are hardly ever of use: scalar, but exact.
  void requantize_exact(const int32_t* sums, int64_t rows, size_t panel, std::byte* codes, int64_t ld) const {
    const int P = isa_.columns();
    for (int64_t r = 0; r < rows; ++r)
      for (int q = 0; q < P; ++q) {
        const int c = panel_column(isa_.lanes, wide_, q);
        const int64_t column = panel * P + c;
        const int64_t y = column < p_.N ? p_.requantize(sums[r * P + q], column) : 0;
        if (wide_)
          reinterpret_cast<int16_t*>(codes + r * ld)[c] = static_cast<int16_t>(y);
        else
          reinterpret_cast<int8_t*>(codes + r * ld)[c] = static_cast<int8_t>(y);
      }
  }

  const LinearTile& isa_;
  LinearParameters p_;
  const bool wide_;       // 16-bit codes
  const int64_t groups_;  // of k
  const int64_t slice_bytes_;
  std::vector<Panel> panels_;
  AlignedBuffer weights_;  // [panel][slice][group][register][lane][k in group]
  AlignedBuffer bias_;     // i32 [panel][column]
  AlignedBuffer columns_;  // i32 [panel][kColumnRows][column]
  AlignedBuffer tables_;   // i8 [G,256] by the code's byte
};

}  // namespace

std::string linear_avx2_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_avx2_make(const KernelSpec& spec) {
  return std::make_unique<PackedLinear>(spec, kLinearAvx2);
}

std::string linear_avx512vnni_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_avx512vnni_make(const KernelSpec& spec) {
  return std::make_unique<PackedLinear>(spec, kLinearAvx512Vnni);
}

}  // namespace dyadic
