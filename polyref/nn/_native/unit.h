// A unit of work: up to kLanes rows, from sums of exponentials to losses and to the factors of the gradient.
#pragma once

#include "exponential.h"
#include "problem.h"

namespace polyref {

// Rows in a unit: eight vectors of the compute type.
template <typename A>
inline constexpr int64_t kLanes = 4 * kPair<A>;

template <typename T>
struct Unit {
  using A = compute_t<T>;
  using W = wide_t<A>;
  static constexpr int64_t lanes = kLanes<A>;

  int64_t first = 0, count = 0; // its rows
  int64_t used = lanes; // the lanes that are computed, a multiple of kWidth<double>; those from `count` on are idle
  int64_t index[lanes]; // the target's class
  bool ignored[lanes];
  bool any_ignored; // beyond `count` none is
  A reference[lanes], own[lanes]; // the largest logit, rounded down to an integer, and the target's logit
  W others[lanes]; // the sum of exp(z_k - reference) over k != y
  W weight[lanes], factor[lanes]; // on the loss, and on the gradient
  W value[lanes], scale[lanes], target[lanes]; // the loss, and the gradient: scale e_k, of the target `target`
  alignas(64) A scale_high[lanes], scale_low[lanes];
};

// Targets, weights and factors of the unit's rows; `denominators` of the groups, or null.
template <typename T>
void set_up(Unit<T>& unit, const Problem& problem, const wide_t<compute_t<T>>* denominators) {
  using W = wide_t<compute_t<T>>;
  const int64_t group = unit.first / (problem.rows() / problem.groups);
  const bool each = problem.reduction == Reduction::none && problem.incoming.data != nullptr;
  W common = problem.incoming.data != nullptr && !each ? read(problem.incoming, group, 0) : 1;
  if (denominators != nullptr) {
    common /= denominators[group];
  }
  int64_t ignored = 0;
  for (int64_t lane = 0; lane < unit.count; ++lane) {
    const int64_t y = problem.target[unit.first + lane];
    const bool none = y == problem.ignore_index;
    ignored += none;
    unit.ignored[lane] = none;
    unit.index[lane] = none ? 0 : y;
  }
  unit.any_ignored = ignored > 0;
  for (int64_t lane = unit.count; lane < unit.used; ++lane) {
    // What nothing else fills in: a row of two equal logits.
    unit.ignored[lane] = false;
    unit.index[lane] = 0;
    unit.reference[lane] = unit.own[lane] = 0;
    unit.others[lane] = 1;
  }
  if (unit.any_ignored) {
    for (int64_t lane = 0; lane < unit.count; ++lane) {
      unit.reference[lane] = unit.own[lane] = 0;
      unit.others[lane] = 1;
    }
  }
  for (int64_t lane = 0; lane < unit.used; ++lane) {
    unit.weight[lane] = problem.weight == nullptr ? W(1) : W(problem.weight[unit.index[lane]]);
    unit.factor[lane] = unit.weight[lane] * common;
  }
  for (int64_t lane = 0; lane < unit.count && each; ++lane) {
    const int64_t row = unit.first + lane;
    unit.factor[lane] *= read(problem.incoming, row / problem.inner, row % problem.inner);
  }
}

inline Vectorized<double> exponential_of(const Vectorized<double>& z, const Vectorized<double>& m) {
  return exponential<double, true>(z, m);
}
inline long double exponential_of(long double z, long double m) {
  return std::exp(z - m);
}

template <typename R>
struct Answer {
  R value, scale, target;
};

// The arithmetic of one row, or of a vector of rows.
template <typename R>
inline Answer<R> answer(
    const Response& response, const R& others, const R& reference, const R& own_logit, const R& weight,
    const R& factor) {
  const R one(1), zero(0);
  const R below = reference - own_logit;
  const R own = exponential_of(own_logit, reference);
  const R all = others + own;
  const R inverse = one / all;
  const R x = others * inverse;
  // -log Pt = log1p(others / own), where own is not too small for that; far below the maximum all >= 1.
  const auto near = below < one;
  const R log = choose(near, zero, below) + log1p_of(choose(near, others / own, all - one));
  R value, slope;
  respond(response, x, own * inverse, log, value, slope);
  const R weighted = slope * factor;
  return {value * weight, weighted * inverse, zero - weighted * x};
}

inline void answers(Unit<double>& unit, const Response& response) {
  for (int64_t lane = 0; lane < unit.count; ++lane) {
    const auto a = answer<long double>(
        response,
        unit.others[lane],
        unit.reference[lane],
        unit.own[lane],
        unit.weight[lane],
        unit.factor[lane]);
    unit.value[lane] = a.value;
    unit.scale[lane] = a.scale;
    unit.target[lane] = a.target;
  }
}

template <typename T>
inline void answers(Unit<T>& unit, const Response& response) {
  using D = Vectorized<double>;
  for (int64_t lane = 0; lane < unit.count; lane += D::size()) {
    double reference[D::size()], own[D::size()];
    for (int64_t i = 0; i < D::size(); ++i) {
      reference[i] = unit.reference[lane + i];
      own[i] = unit.own[lane + i];
    }
    const auto a = answer<D>(
        response,
        D::loadu(unit.others + lane),
        D::loadu(reference),
        D::loadu(own),
        D::loadu(unit.weight + lane),
        D::loadu(unit.factor + lane));
    a.value.store(unit.value + lane);
    a.scale.store(unit.scale + lane);
    a.target.store(unit.target + lane);
  }
}

// Where the factor is large and an exponential subnormal, or the factor itself is out of range, the product of the two
// rounded numbers lacks digits that the exact one has. Such a row's gradient is computed here in the wide type, into
// the place of its exponentials, and its factor becomes 1.
//
// An exponential below the normal range is off by half the smallest subnormal, times the factor; up to a factor of 4
// that is 2 units in the result's last place.
inline constexpr double kLargeFactor = 4;

template <typename T>
void widen_extreme_row(
    Unit<T>& unit, int64_t lane, compute_t<T>* e, int64_t step, int64_t classes, const T* logits, int64_t stride) {
  using A = compute_t<T>;
  using W = wide_t<A>;
  const W scale = unit.scale[lane];
  if (!(std::abs(scale) > W(kLargeFactor)) || std::isinf(scale)) {
    return;
  }
  bool exact = std::abs(scale) <= W(std::numeric_limits<A>::max());
  for (int64_t k = 0; k < classes && exact; ++k) {
    exact = !(e[k * step] < std::numeric_limits<A>::min()) || k == unit.index[lane];
  }
  if (exact) {
    return;
  }
  for (int64_t k = 0; k < classes; ++k) {
    const W difference = static_cast<W>(static_cast<A>(logits[k * stride])) - unit.reference[lane];
    e[k * step] = static_cast<A>(difference == -kInfinity<W> ? W(0) : std::exp(difference) * scale);
  }
  unit.scale[lane] = 1;
}

// From the sums to losses and factors. `widen(lane)` sees to an extreme row.
template <typename T, typename Widen>
void finish(Unit<T>& unit, const Problem& problem, const Widen& widen) {
  using A = compute_t<T>;
  using W = wide_t<A>;
  answers(unit, problem.response);
  if (unit.any_ignored) {
    for (int64_t lane = 0; lane < unit.count; ++lane) {
      if (unit.ignored[lane]) {
        unit.value[lane] = unit.scale[lane] = unit.target[lane] = 0;
      }
    }
  }
  if (problem.out == nullptr) {
    return;
  }
  for (int64_t lane = unit.count; lane < unit.used; ++lane) {
    unit.scale[lane] = 0;
  }
  bool extreme = false;
  for (int64_t lane = 0; lane < unit.used; ++lane) {
    extreme |= std::abs(unit.scale[lane]) > W(kLargeFactor);
  }
  for (int64_t lane = 0; lane < unit.count && extreme; ++lane) {
    widen(lane);
  }
  for (int64_t lane = 0; lane < unit.used; ++lane) {
    unit.scale_high[lane] = static_cast<A>(unit.scale[lane]);
  }
  for (int64_t lane = 0; lane < unit.used; ++lane) {
    const A high = unit.scale_high[lane];
    const A low = static_cast<A>(unit.scale[lane] - high);
    // Not of an infinite one, where it would be NaN.
    unit.scale_low[lane] = std::abs(high) <= std::numeric_limits<A>::max() ? low : A(0);
  }
}

} // namespace polyref
