// Units whose lanes are rows: for (N, C, D), where neighbours in memory belong to neighbouring rows, and for few
// classes, where a row does not fill a vector. The tile is classes x kLanes.
#pragma once

#include "unit.h"

namespace polyref {

// Up to this number of classes rows with their classes side by side are transposed into a tile.
inline constexpr int64_t kTransposed = 64;

// Consecutive rows of one batch entry: where they begin in memory and in the tile.
struct Run {
  int64_t offset, lane, length;
};

template <typename T>
int64_t runs_of(const Unit<T>& unit, const Problem& problem, Run* runs) {
  int64_t number = 0;
  for (int64_t lane = 0; lane < unit.count;) {
    const int64_t row = unit.first + lane;
    const int64_t n = row / problem.inner, i = row % problem.inner;
    const int64_t length = std::min(unit.count - lane, problem.inner - i);
    runs[number++] = {n * problem.classes * problem.inner + i, lane, length};
    lane += length;
  }
  return number;
}

// `rows` rows of `columns` numbers, transposed: from[r * columns + c] to to[c * step + r], or back.
template <typename A>
void transpose(const A* from, int64_t from_step, A* to, int64_t to_step, int64_t rows, int64_t columns) {
#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
  if constexpr (std::is_same_v<A, float>) {
    at::vec::transpose_mxn<float>(from, from_step, to, to_step, static_cast<int>(rows), static_cast<int>(columns));
    return;
  }
#endif
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      to[c * to_step + r] = from[r * from_step + c];
    }
  }
}

// Whether the tile is one run of full length, which is read and written by vectors.
template <typename T>
inline bool is_full(const Run* runs) {
  return runs[0].length == kLanes<compute_t<T>>;
}

template <typename T>
void read_tile(const Unit<T>& unit, const Problem& problem, const Run* runs, int64_t number, compute_t<T>* tile) {
  using A = compute_t<T>;
  using V = Vectorized<A>;
  constexpr int64_t lanes = kLanes<A>;
  const int64_t classes = problem.classes, inner = problem.inner;
  const T* logits = static_cast<const T*>(problem.logits);
  if (unit.count < lanes) {
    std::fill(tile, tile + classes * lanes, A(0));
  }
  if (inner == 1) {
    const T* from = logits + unit.first * classes;
    if constexpr (std::is_same_v<T, A>) {
      transpose(from, classes, tile, lanes, unit.count, classes);
    } else {
      alignas(64) A flat[kTransposed * lanes];
      const int64_t size = unit.count * classes;
      int64_t k = 0;
      V a, b;
      for (; k + kPair<A> <= size; k += kPair<A>) {
        load_pair(from + k, a, b);
        a.store(flat + k);
        b.store(flat + k + kWidth<A>);
      }
      for (; k < size; ++k) {
        flat[k] = static_cast<A>(from[k]);
      }
      transpose(static_cast<const A*>(flat), classes, tile, lanes, unit.count, classes);
    }
  } else if (is_full<T>(runs)) {
    const T* from = logits + runs[0].offset;
    for (int64_t k = 0; k < classes; ++k) {
      for (int64_t v = 0; v < lanes; v += kPair<A>) {
        V a, b;
        load_pair(from + k * inner + v, a, b);
        a.store(tile + k * lanes + v);
        b.store(tile + k * lanes + v + kWidth<A>);
      }
    }
  } else {
    for (int64_t k = 0; k < classes; ++k) {
      for (int64_t j = 0; j < number; ++j) {
        const T* from = logits + runs[j].offset + k * inner;
        for (int64_t i = 0; i < runs[j].length; ++i) {
          tile[k * lanes + runs[j].lane + i] = static_cast<A>(from[i]);
        }
      }
    }
  }
}

// The exponentials in place, with their sums; the target's logit is taken out, for S - e_y would have no digits left
// for Pt near 1. The classes lie `inner` apart where the tile was read from and its gradient goes to.
template <typename T, bool keep>
void exponentiate_tile(
    Unit<T>& unit, int64_t classes, compute_t<T>* tile, const T* from, const T* to, int64_t inner) {
  using A = compute_t<T>;
  using V = Vectorized<A>;
  constexpr int64_t lanes = kLanes<A>;
  constexpr bool exact = std::is_same_v<T, A>;
  for (int64_t v = 0; v < lanes; v += kPair<A>) {
    V high_a(-kInfinity<A>), high_b(-kInfinity<A>);
    for (int64_t k = 0; k < classes; ++k) {
      high_a = greater_or_second(V::loadu(tile + k * lanes + v), high_a);
      high_b = greater_or_second(V::loadu(tile + k * lanes + v + kWidth<A>), high_b);
    }
    high_a.floor().store(unit.reference + v);
    high_b.floor().store(unit.reference + v + kWidth<A>);
  }
  for (int64_t lane = 0; lane < lanes; ++lane) {
    A& own = tile[unit.index[lane] * lanes + lane];
    unit.own[lane] = own;
    own = -kInfinity<A>;
  }
  for (int64_t v = 0; v < lanes; v += kPair<A>) {
    const V m_a = V::loadu(unit.reference + v), m_b = V::loadu(unit.reference + v + kWidth<A>);
    LaneSums<A> sum_a, sum_b;
    for (int64_t k = 0; k < classes; ++k) {
      if (from != nullptr) {
        // The next tile, and where this one's gradient goes: memory is slow, and this loop the one that computes.
        announce<T, false>(from + k * inner + lanes + v);
        if constexpr (keep) {
          announce<T, true>(to + k * inner + v);
        }
      }
      A* at = tile + k * lanes + v;
      const V a = exponential<A, exact>(V::loadu(at), m_a);
      const V b = exponential<A, exact>(V::loadu(at + kWidth<A>), m_b);
      if constexpr (keep) {
        a.store(at);
        b.store(at + kWidth<A>);
      }
      sum_a.add(a);
      sum_b.add(b);
    }
    sum_a.store(unit.others + v);
    sum_b.store(unit.others + v + kWidth<A>);
  }
}

template <typename T>
void write_tile(const Unit<T>& unit, const Problem& problem, const Run* runs, int64_t number, compute_t<T>* tile) {
  using A = compute_t<T>;
  using V = Vectorized<A>;
  constexpr int64_t lanes = kLanes<A>;
  const int64_t classes = problem.classes, inner = problem.inner;
  T* out = static_cast<T*>(problem.out);
  const bool direct = inner != 1 && is_full<T>(runs);
  for (int64_t v = 0; v < lanes; v += kPair<A>) {
    const int64_t w = v + kWidth<A>;
    const V high_a = V::loadu(unit.scale_high + v), high_b = V::loadu(unit.scale_high + w);
    const V low_a = V::loadu(unit.scale_low + v), low_b = V::loadu(unit.scale_low + w);
    for (int64_t k = 0; k < classes; ++k) {
      A* at = tile + k * lanes;
      V a = V::loadu(at + v), b = V::loadu(at + w);
      a = at::vec::fmadd(a, high_a, a * low_a);
      b = at::vec::fmadd(b, high_b, b * low_b);
      if (direct) {
        store_pair<T>(out + runs[0].offset + k * inner + v, a, b);
      } else {
        a.store(at + v);
        b.store(at + w);
      }
    }
  }
  if (direct) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      out[runs[0].offset + unit.index[lane] * inner + lane] = narrow<T>(unit.target[lane]);
    }
    return;
  }
  for (int64_t lane = 0; lane < unit.count; ++lane) {
    tile[unit.index[lane] * lanes + lane] = static_cast<A>(unit.target[lane]);
  }
  if (inner == 1) {
    T* to = out + unit.first * classes;
    if constexpr (std::is_same_v<T, A>) {
      transpose(static_cast<const A*>(tile), lanes, to, classes, classes, unit.count);
    } else {
      alignas(64) A flat[kTransposed * lanes];
      transpose(static_cast<const A*>(tile), lanes, static_cast<A*>(flat), classes, classes, unit.count);
      const int64_t size = unit.count * classes;
      int64_t k = 0;
      for (; k + kPair<A> <= size; k += kPair<A>) {
        store_pair<T>(to + k, V::loadu(flat + k), V::loadu(flat + k + kWidth<A>));
      }
      for (; k < size; ++k) {
        to[k] = static_cast<T>(flat[k]);
      }
    }
    return;
  }
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < number; ++j) {
      T* to = out + runs[j].offset + k * inner;
      for (int64_t i = 0; i < runs[j].length; ++i) {
        to[i] = static_cast<T>(tile[k * lanes + runs[j].lane + i]);
      }
    }
  }
}

template <typename T>
void solve_tile(Unit<T>& unit, const Problem& problem, compute_t<T>* tile) {
  using A = compute_t<T>;
  constexpr int64_t lanes = kLanes<A>;
  Run runs[lanes];
  int64_t number = 0;
  if (problem.inner != 1) {
    number = runs_of(unit, problem, runs);
  }
  read_tile(unit, problem, runs, number, tile);
  for (int64_t lane = 0; lane < unit.count && unit.any_ignored; ++lane) {
    if (unit.ignored[lane]) {
      // It may hold NaN, of which 0 times would still be NaN.
      for (int64_t k = 0; k < problem.classes; ++k) {
        tile[k * lanes + lane] = 0;
      }
    }
  }
  const T *from = nullptr, *to = nullptr;
  if (problem.inner != 1 && is_full<T>(runs)) {
    from = static_cast<const T*>(problem.logits) + runs[0].offset;
    to = static_cast<const T*>(problem.out) + (problem.out == nullptr ? 0 : runs[0].offset);
  }
  if (problem.out == nullptr) {
    exponentiate_tile<T, false>(unit, problem.classes, tile, from, to, problem.inner);
  } else {
    exponentiate_tile<T, true>(unit, problem.classes, tile, from, to, problem.inner);
  }
  finish(unit, problem, [&](int64_t lane) {
    const int64_t row = unit.first + lane, inner = problem.inner;
    const T* from = static_cast<const T*>(problem.logits) + row / inner * problem.classes * inner + row % inner;
    widen_extreme_row(unit, lane, tile + lane, lanes, problem.classes, from, inner);
  });
  if (problem.out != nullptr) {
    write_tile(unit, problem, runs, number, tile);
  }
}

} // namespace polyref
