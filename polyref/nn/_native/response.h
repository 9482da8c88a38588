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
  double crossover;
  double gamma;
};

inline Vectorized<double> choose(
    const Vectorized<double>& condition, const Vectorized<double>& yes, const Vectorized<double>& no) {
  return Vectorized<double>::blendv(no, yes, condition);
}
inline long double choose(bool condition, long double yes, long double no) {
  return condition ? yes : no;
}

inline Vectorized<double> multiply_add(
    const Vectorized<double>& a, const Vectorized<double>& b, const Vectorized<double>& c) {
  return at::vec::fmadd(a, b, c);
}
inline long double multiply_add(long double a, long double b, long double c) {
  return a * b + c;
}

inline Vectorized<double> exp_of(const Vectorized<double>& v) {
  return v.exp();
}
inline long double exp_of(long double v) {
  return std::exp(v);
}
inline Vectorized<double> log1p_of(const Vectorized<double>& v) {
  return v.log1p();
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

// The loss x^gamma P, and Pt times its derivative by x; from x, Pt and -log Pt.
template <typename R>
inline void respond(const Response& f, const R& x, const R& pt, const R& log, R& value, R& slope) {
  const R one(1), zero(0);
  R ratio = one; // P / x, for the focal factor alone
  if (f.direct.size == 0) {
    value = log;
    slope = one + zero * x; // NaN stays
    if (f.gamma != 0) {
      ratio = choose(x > zero, finite(log) / x, one);
    }
  } else {
    const int64_t degree = f.direct.size;
    const R r = one / (R(2) - x);
    const R s = x * r;
    const R square = s * s;
    R tail = horner(f.odd, square, zero) * (degree % 2 == 0 ? s : square);
    for (int64_t i = 0; i < degree; ++i) {
      tail = tail * r;
    }
    const R near = horner(f.series, x, multiply_add(horner(f.q, s, zero), s, tail));
    const R far = multiply_add(horner(f.direct, x, zero), x, log);
    const auto small = x < R(f.crossover);
    value = choose(small, x * near, far);
    if (f.gamma != 0) {
      // Pt is 0 wherever the logarithm is infinite; a finite one keeps their product 0.
      ratio = choose(small, near, finite(far) / x);
    }
    slope = choose(x < R(0.5), horner(f.near, x, zero), multiply_add(horner(f.far, x, zero), pt, one));
  }
  if (f.gamma != 0) {
    const R power = power_of(x, f.gamma);
    value = power * value;
    slope = power * multiply_add(R(f.gamma) * pt, ratio, slope);
  }
}

} // namespace polyref
