// Units whose rows have their classes side by side: a row is read once, stays in cache as exponentials, and its
// gradient is written once.
#pragma once

#include "unit.h"

namespace polyref {

inline int64_t padded(int64_t classes, int64_t pair) {
  return (classes + pair - 1) / pair * pair;
}

// Several rows at once, so that their arithmetic fills vectors; few where they would not stay in cache.
template <typename T>
inline int64_t rows_in_unit(int64_t classes) {
  using A = compute_t<T>;
  const int64_t cached = (int64_t{1} << 18) / (padded(classes, kPair<A>) * static_cast<int64_t>(sizeof(A)));
  return std::clamp<int64_t>(cached, 1, kWidth<double>);
}

// The row's maximum. Into `to` goes the row in the compute type, up to the next full pair, with impossible classes for
// filling; or, of a row that is in the compute type already, only what will not be read from where it is: the pair with
// the target's logit, and one that is not full.
template <typename T>
compute_t<T> read_row(const T* from, int64_t classes, int64_t index, compute_t<T>* to) {
  using A = compute_t<T>;
  using V = Vectorized<A>;
  V a, b, high_a(-kInfinity<A>), high_b(-kInfinity<A>);
  int64_t k = 0;
  for (; k + kPair<A> <= classes; k += kPair<A>) {
    load_pair(from + k, a, b);
    if constexpr (!std::is_same_v<T, A>) {
      store_pair<A>(to + k, a, b);
    }
    high_a = greater_or_second(a, high_a);
    high_b = greater_or_second(b, high_b);
  }
  if (k < classes) {
    load_part(from + k, classes - k, static_cast<T>(-kInfinity<A>), a, b);
    store_pair<A>(to + k, a, b);
    high_a = greater_or_second(a, high_a);
    high_b = greater_or_second(b, high_b);
  }
  if constexpr (std::is_same_v<T, A>) {
    const int64_t own = index / kPair<A> * kPair<A>;
    if (own < k) {
      std::memcpy(to + own, from + own, kPair<A> * sizeof(A));
    }
  }
  A lanes[kWidth<A>];
  greater_or_second(high_a, high_b).store(lanes);
  return *std::max_element(lanes, lanes + kWidth<A>);
}

// Puts the row's exponentials into `row`, where they are wanted, and sums them; after read_row, with `from` its row.
template <typename T, bool keep>
wide_t<compute_t<T>> exponentiate_row(
    const T* from, const T* to, compute_t<T>* row, int64_t classes, int64_t index, compute_t<T> reference) {
  using A = compute_t<T>;
  using V = Vectorized<A>;
  constexpr bool exact = std::is_same_v<T, A>;
  const int64_t own = index / kPair<A> * kPair<A>, full = classes / kPair<A> * kPair<A>;
  const bool cached = classes * static_cast<int64_t>(sizeof(T)) <= (int64_t{1} << 18);
  const V m(reference);
  LaneSums<A> first, second;
  for (int64_t k = 0; k < classes; k += kPair<A>) {
    // The next row, and where this one's gradient goes: memory is slow, and this loop the one that computes.
    if (cached) {
      announce<T, false>(from + classes + k);
    }
    if constexpr (keep) {
      announce<T, true>(to + k);
    }
    const A* source = row;
    if constexpr (exact) {
      source = k == own || k == full ? row : from;
    }
    const V a = exponential<A, exact>(V::loadu(source + k), m);
    const V b = exponential<A, exact>(V::loadu(source + k + kWidth<A>), m);
    if constexpr (keep) {
      store_pair<A>(row + k, a, b);
    }
    if constexpr (exact) {
      first.add(a);
      second.add(b);
    } else {
      first.add(a, b);
    }
  }
  return total(first, second);
}

// e scale, with the scale in two parts so that its rounding does not add to the product's.
template <typename T>
void write_row(T* to, int64_t classes, const compute_t<T>* e, compute_t<T> scale_high, compute_t<T> scale_low) {
  using A = compute_t<T>;
  using V = Vectorized<A>;
  const V high(scale_high), low(scale_low);
  const auto product = [&](int64_t k) {
    const V v = V::loadu(e + k);
    return at::vec::fmadd(v, high, v * low);
  };
  int64_t k = 0;
  for (; k + kPair<A> <= classes; k += kPair<A>) {
    store_pair<T>(to + k, product(k), product(k + kWidth<A>));
  }
  if (k < classes) {
    store_part<T>(to + k, classes - k, product(k), product(k + kWidth<A>));
  }
}

template <typename T>
void solve_rows(Unit<T>& unit, const Problem& problem, compute_t<T>* scratch) {
  using A = compute_t<T>;
  const int64_t classes = problem.classes, step = padded(classes, kPair<A>);
  const T* logits = static_cast<const T*>(problem.logits) + unit.first * classes;
  T* out = problem.out == nullptr ? nullptr : static_cast<T*>(problem.out) + unit.first * classes;
  for (int64_t lane = 0; lane < unit.count; ++lane) {
    if (unit.ignored[lane]) {
      continue;
    }
    const T* from = logits + lane * classes;
    A* row = scratch + lane * step;
    const int64_t index = unit.index[lane];
    const A reference = std::floor(read_row(from, classes, index, row));
    unit.reference[lane] = reference;
    // The target is taken out of the sum: S - e_y would have no digits left for Pt near 1.
    unit.own[lane] = row[index];
    row[index] = -kInfinity<A>;
    if (problem.out != nullptr) {
      unit.others[lane] = exponentiate_row<T, true>(from, out + lane * classes, row, classes, index, reference);
    } else {
      unit.others[lane] = exponentiate_row<T, false>(from, nullptr, row, classes, index, reference);
    }
  }
  finish(unit, problem, [&](int64_t lane) {
    widen_extreme_row(unit, lane, scratch + lane * step, 1, classes, logits + lane * classes, 1);
  });
  if (problem.out == nullptr) {
    return;
  }
  for (int64_t lane = 0; lane < unit.count; ++lane) {
    T* to = out + lane * classes;
    if (unit.ignored[lane]) {
      std::fill(to, to + classes, T(0));
      continue;
    }
    write_row(to, classes, scratch + lane * step, unit.scale_high[lane], unit.scale_low[lane]);
    to[unit.index[lane]] = narrow<T>(unit.target[lane]);
  }
}

} // namespace polyref
