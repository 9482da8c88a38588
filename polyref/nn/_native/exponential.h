// exp(z - m) for an integer m, the largest logit rounded down, with an error of about 0.6 ulp, and sums of such.
//
// d = z - m is rounded, which alone would cost up to |d| / 2 ulps of the exponential. Since m is an integer, what the
// rounding left out is z - (d + m), exactly: d is inexact only where ulp(d) > ulp(z); then d + m, an integral
// multiple of ulp(d) of the size of z, is representable, and so is its difference from z. It is added to the reduced
// argument, so it costs two additions. With n = round(d log2 e) and ln 2 = hi + lo, n hi exact (Cody and Waite),
//
//     r = (d - n hi) + (left_out - n lo),      exp(z - m) = 2^n (1 + (r + r^2 P(r))),
//
// where the only roundings of weight are that of r (|r| <= 0.35) and the last. P is a weighted minimax fit of
// (exp(r) - 1 - r) / r^2 on [-0.3467, 0.3467]; the relative error of 1 + r + r^2 P(r) is 2^-28.2 for binary32 and
// 2^-64 for binary64, before the coefficients are rounded.
#pragma once

#include "lanes.h"

namespace polyref {

template <typename A>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float log2e = 0x1.715476p+0f;
  static constexpr float shift = 12582912.0f; // 1.5 2^23: adding and subtracting it rounds to an integer
  static constexpr float ln2_hi = 0x1.63p-1f;
  static constexpr float ln2_lo = -0x1.bd0106p-13f;
  static constexpr float lowest = -105.0f; // below, the exponential rounds to 0
  static constexpr int terms = 5;
  static constexpr float p[terms] = {0.4999999343f, 0.1666652044f, 0.04166839058f, 0.008368738759f, 0.001381452512f};
};

template <>
struct ExpConstants<double> {
  static constexpr double log2e = 0x1.71547652b82fep+0;
  static constexpr double shift = 6755399441055744.0;
  static constexpr double ln2_hi = 0x1.62e42feep-1;
  static constexpr double ln2_lo = 0x1.a39ef35793c76p-33;
  static constexpr double lowest = -747.0;
  static constexpr int terms = 11;
  static constexpr double p[terms] = {
      0.5000000000000000044,     0.1666666666666668342,     0.0416666666666660941,     0.008333333333317032258,
      0.00138888888891156836,    0.0001984126989638648253,  0.00002480158692654693529, 2.755723486087626222e-6,
      2.755758191468231881e-7,   2.511203677515918723e-8,   2.082660690486213149e-9};
};

// `compensate` false leaves the rounding of z - m in: between logits of 16 bits there is none, or one of the size of
// the other roundings, unless m is 2^13 times z.
template <typename A, bool compensate>
inline Vectorized<A> exponential(const Vectorized<A>& z, const Vectorized<A>& m) {
  using V = Vectorized<A>;
  using K = ExpConstants<A>;
  const V difference = z - m;
  const Above<A> above(difference, K::lowest);
  const V d = above.safe(difference);
  const V n = at::vec::fmadd(d, V(K::log2e), V(K::shift)) - V(K::shift);
  V left_out(0);
  if constexpr (compensate) {
    left_out = z - (d + m);
  }
  const V rest = at::vec::fmadd(n, V(-K::ln2_lo), left_out);
  const V r = at::vec::fmadd(n, V(-K::ln2_hi), d) + rest;
  V p(K::p[K::terms - 1]);
  for (int i = K::terms - 2; i >= 0; --i) {
    p = at::vec::fmadd(p, r, V(K::p[i]));
  }
  return above.scaled(V(1) + at::vec::fmadd(r * r, p, r), n);
}

// Sums of exponentials, lane by lane, which lose nothing that the exponentials have: in binary64 for those of binary32,
// else compensated.
template <typename A>
struct LaneSums;

template <>
struct LaneSums<float> {
  Vectorized<double> low{0.0}, high{0.0};

  void add(const Vectorized<float>& e) {
    Vectorized<double> a, b;
    widen(e, a, b);
    low = low + a;
    high = high + b;
  }

  // Together, at the cost of a rounding to binary32.
  void add(const Vectorized<float>& e, const Vectorized<float>& f) {
    add(e + f);
  }

  void store(double* to) const {
    low.store(to);
    high.store(to + kWidth<double>);
  }
};

template <>
struct LaneSums<double> {
  Vectorized<double> sum{0.0}, left_out{0.0};

  void add(const Vectorized<double>& e) {
    const auto s = sum + e;
    const auto back = s - sum;
    left_out = left_out + ((sum - (s - back)) + (e - back));
    sum = s;
  }

  void store(long double* to) const {
    double a[kWidth<double>], b[kWidth<double>];
    sum.store(a);
    left_out.store(b);
    for (int64_t i = 0; i < kWidth<double>; ++i) {
      to[i] = static_cast<long double>(a[i]) + b[i];
    }
  }
};

template <typename A>
inline wide_t<A> total(const LaneSums<A>& a, const LaneSums<A>& b) {
  wide_t<A> lanes[2 * kWidth<A>];
  a.store(lanes);
  b.store(lanes + kWidth<A>);
  wide_t<A> result = 0;
  for (const auto lane : lanes) {
    result += lane;
  }
  return result;
}

} // namespace polyref
