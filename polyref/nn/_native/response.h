// One probability's loss and slope, as functions of x = 1 - Pt, from coefficient tables that are computed outside.
//
// The mathematics, and what the tables hold, is stated in polyref/nn/_response.py; this is its evaluation, for a vector
// of binary64 or for one number of a wider format.
#pragma once

#include <cmath>

#include "lanes.h"

namespace polyref {

struct Coefficients {
  const double* data;
  int64_t size;
};

struct Response {
  Coefficients direct, series, q, odd, near, far;
  double crossover, bend;
  double gamma;
};

inline Vectorized<double> choose(
    const Vectorized<double>& condition, const Vectorized<double>& yes, const Vectorized<double>& no) {
  return Vectorized<double>::blendv(no, yes, condition);
}
inline long double choose(bool condition, long double yes, long double no) {
  return condition ? yes : no;
}

inline bool any(const Vectorized<double>& condition) {
  return condition.zero_mask() != (1 << kWidth<double>) - 1;
}
inline bool any(bool condition) {
  return condition;
}

inline Vectorized<double> multiply_add(
    const Vectorized<double>& a, const Vectorized<double>& b, const Vectorized<double>& c) {
  return at::vec::fmadd(a, b, c);
}
inline long double multiply_add(long double a, long double b, long double c) {
  return a * b + c;
}

// For v >= 0, to a few units in the last place: 1 + v = 2^n (1 + f), log(1 + f) = 2 atanh(s) with s = f / (2 + f),
// -1/7 <= s < 1/5. Where n is 0, f is v itself and small ones keep their digits.
inline Vectorized<double> log1p_of(const Vectorized<double>& v) {
  using V = Vectorized<double>;
  const V one(1.0);
  V mantissa, n;
  split_power(one + v, mantissa, n);
  const V f = V::blendv(mantissa - one, v, n == V(0.0));
  const V s = f / (V(2.0) + f);
  const V square = s * s;
  // The terms left out are less than 2^-49 of the sum.
  V sum(2.0 / 19);
  for (int j = 17; j >= 3; j -= 2) {
    sum = at::vec::fmadd(sum, square, V(2.0 / j));
  }
  const V small = at::vec::fmadd(s * square, sum, V(2.0) * s);
  return at::vec::fmadd(n, V(0.6931471805599453094), small);
}
inline long double log1p_of(long double v) {
  return std::log1p(v);
}
inline Vectorized<double> power_of(const Vectorized<double>& v, double exponent) {
  return v.pow(Vectorized<double>(exponent));
}
inline long double power_of(long double v, double exponent) {
  return std::pow(v, static_cast<long double>(exponent));
}

// The polynomial, constant first, with `inner` added to the last coefficient.
template <typename R>
inline R horner(const Coefficients& c, const R& x, const R& inner) {
  R result = inner + R(c.data[c.size - 1]);
  for (int64_t i = c.size - 2; i >= 0; --i) {
    result = multiply_add(result, x, R(c.data[i]));
  }
  return result;
}

template <typename R>
inline R finite(const R& v) {
  const R most(std::numeric_limits<double>::max());
  return choose(v > most, most, v);
}

// Pt dP/dx.
template <typename R>
inline R slope_of(const Response& f, const R& x, const R& pt) {
  const R one(1), zero(0);
  if (f.bend == 1) {
    return horner(f.near, x, zero);
  }
  const R far = f.far.size > 0 ? multiply_add(horner(f.far, x, zero), pt, one) : one + zero * x; // NaN stays
  return f.bend == 0 ? far : choose(x < R(f.bend), horner(f.near, x, zero), far);
}

// P / x for small x, by the series.
template <typename R>
inline R ratio_near_zero(const Response& f, const R& x) {
  const R r = R(1) / (R(2) - x);
  const R s = x * r;
  const R square = s * s;
  R tail = horner(f.odd, square, R(0)) * (f.direct.size % 2 == 0 ? s : square);
  for (int64_t i = 0; i < f.direct.size; ++i) {
    tail = tail * r;
  }
  return horner(f.series, x, multiply_add(horner(f.q, s, R(0)), s, tail));
}

// The loss x^gamma P, and Pt times its derivative by x; from x, Pt and -log Pt.
template <typename R>
inline void respond(const Response& f, const R& x, const R& pt, const R& log, R& value, R& slope) {
  const R zero(0);
  value = f.direct.size > 0 ? multiply_add(horner(f.direct, x, zero), x, log) : log;
  slope = slope_of(f, x, pt);
  R ratio = zero; // P / x, for the focal factor alone
  if (f.gamma != 0) {
    // Pt is 0 wherever the logarithm is infinite; a finite one keeps their product 0. At x = 0 P / x has a limit.
    const R limit(1 + (f.direct.size > 0 ? f.direct.data[0] : 0.0));
    ratio = choose(x == zero, limit, finite(value) / x);
  }
  const auto small = x < R(f.crossover);
  if (any(small)) {
    const R near = ratio_near_zero(f, x);
    value = choose(small, x * near, value);
    ratio = choose(small, near, ratio);
  }
  if (f.gamma != 0) {
    const R power = power_of(x, f.gamma);
    value = power * value;
    slope = power * multiply_add(R(f.gamma) * pt, ratio, slope);
  }
}

} // namespace polyref
