// The first look at a part of a sweep, in one pass: the operator that polyref/sweep/first.py describes and calls.
//
// The losses are those of polyref/sweep/exact.py, operation by operation, and so is the bound of their error; the
// comparison is that of polyref/sweep/rounding.py. A part is cut into blocks whose numbers stay in the first cache.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

namespace polyref {
namespace {

using at::Tensor;
using V = at::vec::Vectorized<double>;
using Doubles = at::ArrayRef<double>;

constexpr int64_t kBlock = 256; // a multiple of every vector's width
constexpr double kUnderflow = 1e-290;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Loss {
  Doubles epsilon, series, slope, slope_far;
  double gamma, unit;
  bool cancels;
};

struct Sum {
  V total, magnitude;
};

// sum_i c_i x^i, and the sum of the magnitudes of its terms.
Sum polynomial(Doubles coefficients, const V& x) {
  V total(coefficients.back()), magnitude(std::abs(coefficients.back()));
  for (int64_t i = static_cast<int64_t>(coefficients.size()) - 2; i >= 0; --i) {
    total = total * x + V(coefficients[i]);
    magnitude = magnitude * x + V(std::abs(coefficients[i]));
  }
  return {total, magnitude};
}

Sum powers(Doubles coefficients, const V& x) {
  const Sum s = polynomial(coefficients, x);
  return {s.total * x, s.magnitude * x};
}

V choose(const V& mask, const V& yes, const V& no) {
  return V::blendv(no, yes, mask);
}

// P, from -log Pt or from its series where terms of the sum cancel.
Sum of_probability(const Loss& loss, const V& x, const V& nll) {
  constexpr int64_t terms = 15;
  if (loss.epsilon.empty()) {
    return {nll, nll};
  }
  const Sum direct = powers(loss.epsilon, x);
  const Sum p = {nll + direct.total, nll + direct.magnitude};
  const V near = x < V(1.0 / 16);
  if (!loss.cancels || near.zero_mask() == (1 << V::size()) - 1) {
    return p;
  }
  const int64_t n = static_cast<int64_t>(loss.epsilon.size());
  V tail(1.0 / static_cast<double>(n + terms));
  for (int64_t k = n + terms - 1; k > n; --k) {
    tail = tail * x + V(1.0 / static_cast<double>(k));
  }
  for (int64_t i = 0; i <= n; ++i) {
    tail = tail * x;
  }
  const Sum series = powers(loss.series, x);
  return {choose(near, series.total + tail, p.total), choose(near, series.magnitude + tail, p.magnitude)};
}

// Q, and the sum of the magnitudes of its terms.
Sum of_slope(const Loss& loss, const V& x, const V& pt) {
  const V one(1.0);
  if (loss.epsilon.empty()) {
    return {one, one};
  }
  const Sum near = polynomial(loss.slope, x), far = polynomial(loss.slope_far, x);
  const V half = x < V(0.5);
  return {choose(half, near.total, one + pt * far.total), choose(half, near.magnitude, one + pt * far.magnitude)};
}

struct Block {
  int64_t begin = 0, count = 0;
  bool usual[kBlock];
  int64_t cell[kBlock], regime[kBlock];
  alignas(64) double margin[kBlock], rest[kBlock];
  alignas(64) double value[kBlock], value_error[kBlock], slope[kBlock], slope_error[kBlock];
};

// z_o - z_y, and what its rounding left off; 0 where a logit is no number.
void subtract(Block& block, const double* logits) {
  for (int64_t i = 0; i < block.count; ++i) {
    const double target = logits[2 * i], other = logits[2 * i + 1];
    const double margin = other - target, back = margin - other;
    const double rest = (other - (margin - back)) - (target + back);
    const bool usual = std::abs(margin) < kInfinity;
    block.usual[i] = usual;
    block.margin[i] = usual ? margin : 0.0;
    block.rest[i] = usual ? rest : 0.0;
  }
  for (int64_t i = block.count; i < kBlock; ++i) {
    block.usual[i] = false;
    block.margin[i] = block.rest[i] = 0.0;
  }
}

void evaluate(Block& block, const Loss& loss, bool slope) {
  const V zero(0.0), one(1.0), unit(loss.unit), underflow(kUnderflow), gamma(loss.gamma);
  for (int64_t i = 0; i < block.count; i += V::size()) {
    const V margin = V::loadu(block.margin + i), rest = V::loadu(block.rest + i);
    const V likely = margin <= zero;
    V t = margin.abs().neg().exp();
    t = t - t * choose(likely, rest.neg(), rest);
    const V log = t.log1p() + choose(likely, zero, rest);
    const V small = t / (one + t), large = one / (one + t);
    const V x = choose(likely, small, large), pt = choose(likely, large, small);
    Sum p = of_probability(loss, x, choose(likely, zero, margin) + log);
    V focal = one;
    if (loss.gamma != 0) {
      focal = x.pow(gamma);
      p = {p.total * focal, p.magnitude * focal};
    }
    p.total.store(block.value + i);
    (p.magnitude * unit + underflow).store(block.value_error + i);
    if (slope) {
      const Sum q = of_slope(loss, x, pt);
      Sum g = {q.total * x, q.magnitude * x};
      if (loss.gamma != 0) {
        g = {g.total * focal + gamma * pt * p.total, g.magnitude * focal + gamma * pt * p.magnitude};
      }
      g.total.store(block.slope + i);
      (g.magnitude * unit + underflow).store(block.slope_error + i);
    }
  }
}

// How the margins are cut into the cells of the tables of radii, and into regimes.
struct Cells {
  int64_t shift, base, count;
  Doubles regime_ends;
};

void locate(Block& block, const Cells& cells) {
  for (int64_t i = 0; i < block.count; ++i) {
    const double margin = block.margin[i];
    int64_t cell = (std::bit_cast<int64_t>(std::abs(margin)) >> cells.shift) - cells.base;
    cell = cell < 0 ? 0 : cell > cells.count - 1 ? cells.count - 1 : cell;
    block.cell[i] = cell + (margin <= 0 ? cells.count : 0);
    int64_t regime = 0;
    for (const double end : cells.regime_ends) {
      regime += end < -margin;
    }
    block.regime[i] = regime;
  }
}

struct Format {
  int64_t precision, emin;
  double ceiling;
};

double clamped(double v, double ceiling) { // NaN stays NaN
  return v < -ceiling ? -ceiling : v > ceiling ? ceiling : v;
}

double larger(double a, double b) { // NaN if either is
  return b > a || b != b ? b : a;
}

// The tables of bounds of the radii of one number of each input, as polyref/sweep/judge.py has them.
struct Radii {
  const double* textbook; // at least
  const double* free_least;
  const double* free_most;
};

// What is certain of all numbers of an input that make up a quantity, and of some.
enum Certain : int64_t {
  kKnown = 1, // each is the correctly rounded one, or another one
  kCorrect = 2, // all are correctly rounded
  kBelowOne = 4, // all are less than one ulp off
  kSharp = 8, // all are within the radius of the cancellation-free algorithm
  kFromOne = 16, // some are one ulp off or more
  kBlunt = 32, // some are beyond that radius
};
constexpr int64_t kAll = kKnown | kCorrect | kBelowOne | kSharp, kSome = kFromOne | kBlunt;

// What is found of a quantity in a block.
struct Seen {
  alignas(64) double ulps[kBlock], ratio[kBlock]; // at most
  int64_t certain[kBlock];
};

// One number of each input: its exact value is sign * exact, and what the subject returned is observed[i * stride].
void compare(
    Seen& seen, const Block& block, const Format& format, const double* exact, double sign, const double* error,
    const double* observed, int64_t stride, const Radii& radii, bool first) {
  constexpr int64_t bits = 52, bias = 1023;
  const int64_t lowest = format.emin + bias, highest = format.precision - 1 + 2 * bias;
  for (int64_t i = 0; i < block.count; ++i) {
    const double kept = clamped(sign * exact[i], format.ceiling), got = clamped(observed[i * stride], format.ceiling);
    const int64_t exponent = std::bit_cast<int64_t>(std::abs(kept) - error[i]) >> bits;
    const double per_ulp = std::bit_cast<double>((highest - (exponent < lowest ? lowest : exponent)) << bits);
    const double scaled = kept * per_ulp, whole = std::nearbyint(scaled), room = error[i] * per_ulp;
    const bool sure = std::abs(scaled - whole) + room < 0.5;
    const double apart = std::abs(got - kept), most = apart * (1 + 0x1p-52) + error[i];
    const double least = apart * (1 - 0x1p-52) - error[i];
    const double ulps = most * per_ulp;
    // The exact number may lie in the next binade, where an ulp is twice as large.
    const int64_t above = std::bit_cast<int64_t>(std::abs(kept) + error[i]) >> bits;
    const double least_ulps =
        least * std::bit_cast<double>((highest - (above < lowest ? lowest : above)) << bits);
    const int64_t cell = block.cell[i];
    const double ratio = most / radii.textbook[cell];
    const bool same = got == whole / per_ulp;
    // An infinity in the place of a number is not a matter of distance.
    const bool finite = std::abs(observed[i * stride]) < kInfinity;
    int64_t certain = (finite & (sure | (least_ulps > 0.5))) ? kKnown : 0;
    certain |= (sure & same) ? kCorrect : 0;
    certain |= ulps < 1 ? kBelowOne : 0;
    certain |= most <= radii.free_least[cell] ? kSharp : 0;
    certain |= least_ulps >= 1 ? kFromOne : 0;
    certain |= least > radii.free_most[cell] ? kBlunt : 0;
    seen.ulps[i] = first ? ulps : larger(seen.ulps[i], ulps);
    seen.ratio[i] = first ? ratio : larger(seen.ratio[i], ratio);
    seen.certain[i] = first ? certain : (seen.certain[i] & certain & kAll) | ((seen.certain[i] | certain) & kSome);
  }
}

// The grades that are told here, by their places in polyref/grades.py; what is beyond the tolerance is not.
enum Grade : int64_t { kCorrectlyRounded, kFaithful, kAccurate, kTextbook, kGrades, kOpen = -1 };

Grade grade_of(int64_t certain, double ratio) {
  if (!(ratio < kInfinity)) { // NaN, or nothing is known of the tolerance
    return kOpen;
  }
  if (certain & kCorrect) {
    return kCorrectlyRounded;
  }
  if (!(ratio <= 1) || !(certain & kKnown)) {
    return kOpen;
  }
  if (certain & kBelowOne) {
    return kFaithful;
  }
  if (!(certain & kFromOne)) {
    return kOpen;
  }
  return certain & kSharp ? kAccurate : certain & kBlunt ? kTextbook : kOpen;
}

// What is found of a quantity in the part. `high` are inputs that were decided and whose bounds exceed a floor.
struct Quantity {
  double ulps_floor, ratio_floor;
  int64_t* counts; // [grade][regime]
  int64_t* first; // of each grade
  std::vector<int64_t> open, high;
  std::vector<double> high_ulps, high_ratio;
};

void count(Quantity& into, const Seen& seen, const Block& block, int64_t regimes) {
  for (int64_t i = 0; i < block.count; ++i) {
    if (!block.usual[i]) {
      continue;
    }
    const int64_t place = block.begin + i;
    const double ulps = seen.ulps[i], ratio = seen.ratio[i];
    const Grade grade = grade_of(seen.certain[i], ratio);
    if (grade != kOpen) {
      into.counts[grade * regimes + block.regime[i]] += 1;
      into.first[grade] = into.first[grade] < 0 ? place : into.first[grade];
      if (ulps > into.ulps_floor || ratio > into.ratio_floor) {
        into.high.push_back(place);
        into.high_ulps.push_back(ulps);
        into.high_ratio.push_back(ratio);
      }
    } else {
      into.open.push_back(place);
    }
  }
}

template <typename T>
Tensor tensor_of(const std::vector<T>& numbers, c10::ScalarType dtype) {
  Tensor made = at::empty({static_cast<int64_t>(numbers.size())}, at::TensorOptions().dtype(dtype));
  std::copy(numbers.begin(), numbers.end(), made.mutable_data_ptr<T>());
  return made;
}

void check(const Tensor& t, c10::IntArrayRef shape) {
  TORCH_CHECK(
      t.scalar_type() == c10::ScalarType::Double && t.is_contiguous() && t.device().is_cpu() && t.sizes() == shape,
      "polyref_native: a contiguous float64 tensor of shape ", shape, " on the CPU is expected, not ", t.sizes());
}

using Found = std::tuple<Tensor, Tensor, Tensor, std::vector<Tensor>>;

Found first_look(
    const Tensor& logits, const Tensor& value, const std::optional<Tensor>& gradient, Doubles epsilon, Doubles series,
    Doubles slope, Doubles slope_far, double gamma, double unit, bool cancels, int64_t precision, int64_t emin,
    double ceiling, at::TensorList radii, int64_t shift, int64_t base, int64_t cell_count, Doubles regime_ends,
    Doubles floors) {
  const int64_t total = value.numel(), regimes = static_cast<int64_t>(regime_ends.size()) + 1;
  const bool sloped = gradient.has_value() && gradient->defined();
  const int64_t quantities = sloped ? 2 : 1;
  check(logits, {total, 2});
  check(value, {total});
  if (sloped) {
    check(*gradient, {total, 2});
  }
  TORCH_CHECK(radii.size() == 9, "polyref_native: nine tables of radii are expected, not ", radii.size());
  TORCH_CHECK(
      static_cast<int64_t>(floors.size()) == 2 * quantities, "polyref_native: two floors a quantity are expected");
  for (const Tensor& table : radii) {
    check(table, {2 * cell_count});
  }
  TORCH_CHECK(
      epsilon.empty() || (!series.empty() && !slope.empty() && !slope_far.empty()), "polyref_native: a table is empty");
  const Loss loss = {epsilon, series, slope, slope_far, gamma, unit, cancels};
  const Cells cells = {shift, base, cell_count, regime_ends};
  const Format format = {precision, emin, ceiling};

  const auto whole = at::TensorOptions().dtype(c10::ScalarType::Long);
  Tensor counts = at::zeros({quantities, kGrades, regimes}, whole);
  Tensor first = at::empty({quantities, kGrades}, whole).fill_(-1);
  std::vector<int64_t> strange;
  std::vector<Quantity> found(quantities);
  for (int64_t q = 0; q < quantities; ++q) {
    found[q].ulps_floor = floors[2 * q];
    found[q].ratio_floor = floors[2 * q + 1];
    found[q].counts = counts.mutable_data_ptr<int64_t>() + q * kGrades * regimes;
    found[q].first = first.mutable_data_ptr<int64_t>() + q * kGrades;
  }

  Radii tables[3];
  for (int64_t k = 0; k < 3; ++k) {
    tables[k] = {
        radii[3 * k].const_data_ptr<double>(), radii[3 * k + 1].const_data_ptr<double>(),
        radii[3 * k + 2].const_data_ptr<double>()};
  }
  Block block;
  Seen seen;
  for (block.begin = 0; block.begin < total; block.begin += kBlock) {
    block.count = std::min(kBlock, total - block.begin);
    subtract(block, logits.const_data_ptr<double>() + 2 * block.begin);
    evaluate(block, loss, sloped);
    locate(block, cells);
    for (int64_t i = 0; i < block.count; ++i) {
      if (!block.usual[i]) {
        strange.push_back(block.begin + i);
      }
    }
    const double* observed = value.const_data_ptr<double>() + block.begin;
    compare(seen, block, format, block.value, 1, block.value_error, observed, 1, tables[0], true);
    count(found[0], seen, block, regimes);
    for (int64_t k = 0; k < 2 && sloped; ++k) {
      compare(
          seen, block, format, block.slope, k == 0 ? -1 : 1, block.slope_error,
          gradient->const_data_ptr<double>() + 2 * block.begin + k, 2, tables[k + 1], k == 0);
    }
    if (sloped) {
      count(found[1], seen, block, regimes);
    }
  }

  std::vector<Tensor> lists;
  for (const Quantity& q : found) {
    lists.push_back(tensor_of(q.open, c10::ScalarType::Long));
    lists.push_back(tensor_of(q.high, c10::ScalarType::Long));
    lists.push_back(tensor_of(q.high_ulps, c10::ScalarType::Double));
    lists.push_back(tensor_of(q.high_ratio, c10::ScalarType::Double));
  }
  return {tensor_of(strange, c10::ScalarType::Long), counts, first, std::move(lists)};
}

TORCH_LIBRARY_FRAGMENT(polyref_native, library) {
  library.def(
      "first_look(Tensor logits, Tensor value, Tensor? gradient, float[] epsilon, float[] series, float[] slope, "
      "float[] slope_far, float gamma, float unit, bool cancels, int precision, int emin, float ceiling, "
      "Tensor[] radii, int shift, int base, int cell_count, float[] regime_ends, float[] floors) "
      "-> (Tensor, Tensor, Tensor, Tensor[])");
}

TORCH_LIBRARY_IMPL(polyref_native, CPU, library) {
  library.impl("first_look", first_look);
}

} // namespace
} // namespace polyref
