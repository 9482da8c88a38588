// What the charts say: numbers and probabilities as text, and where labels stand.
"use strict";
const words = (() => {
  // Numbers that JSON does not know travel as strings.
  const real = (v) => (typeof v === "string" ? ({ inf: Infinity, "-inf": -Infinity }[v] ?? NaN) : v);
  const exactly = (v) => (Object.is(v, -0) ? "-0" : String(v));
  const raised = (n) => String(n).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

  // A mantissa that rounds up to 10 belongs to the next exponent.
  function scientific(mantissa, exponent) {
    const digits = mantissa.toPrecision(3);
    return digits === "10.0" ? `1.00×10${raised(exponent + 1)}` : `${digits}×10${raised(exponent)}`;
  }

  function number(v) {
    if (Number.isNaN(v)) return "NaN";
    if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
    const size = Math.abs(v);
    if (size === 0 || (size >= 1e-3 && size < 1e5)) return String(Number(v.toPrecision(4)));
    const exponent = Math.floor(Math.log10(size));
    return scientific(v / 10 ** exponent, exponent);
  }

  // Pt of log-odds below 0. Beyond what a float holds it is written from the logarithm.
  function small(logOdds) {
    if (logOdds > -7) return String(Number((1 / (1 + Math.exp(-logOdds))).toPrecision(3)));
    if (!Number.isFinite(logOdds)) return "0";
    const power = logOdds / Math.LN10;
    return scientific(10 ** (power - Math.floor(power)), Math.floor(power));
  }

  function probability(logOdds) {
    if (Number.isNaN(logOdds)) return "unknown";
    if (logOdds <= 4.7) return small(logOdds);
    return Number.isFinite(logOdds) ? `1 − ${small(-logOdds)}` : "1 to working precision";
  }

  // Labels for Pt, the most welcome first: each is taken if it has room.
  const welcome = [[0, "0.5"]];
  for (const k of [10, 2, 30, 100, 300, 5, 1, 20, 50, 200, 3, 7, 15, 40, 70]) {
    const at = k < 3 ? Math.log(10 ** k - 1) : k * Math.LN10;
    welcome.push([-at, k < 3 ? (0.1 ** k).toFixed(k) : `10${raised(-k)}`]);
    welcome.push([at, k < 3 ? (1 - 0.1 ** k).toFixed(k) : `1−10${raised(-k)}`]);
  }

  // The labels of the axis of Pt between two places, which have a width in pixels between them; `ends` come first.
  function across(bend, ends, low, high, pixels) {
    const room = (56 * (high - low)) / pixels;
    const taken = [];
    for (const [at, label] of [...ends, ...welcome.map(([logOdds, text]) => [Math.asinh(logOdds / bend), text])]) {
      if (at >= low && at <= high && taken.every(([other]) => Math.abs(other - at) >= room)) taken.push([at, label]);
    }
    if (taken.length > 1) return taken.sort(([a], [b]) => a - b);
    return evenly(low, high, (at) => probability(bend * Math.sinh(at)));
  }

  // Those of the errors, with a row below the decades for errors of 0 and one above them for what is infinite.
  function up({ low, high, zero, infinite }, from, to, pixels) {
    if (to - from < 2 && from >= low && to <= high) return evenly(from, to, (at) => number(10 ** at));
    const room = (20 * (to - from)) / pixels;
    const step = [1, 2, 3, 5, 10, 20, 50].find((s) => s >= room) ?? 100;
    const taken = [[zero, "0"], [low, `≤ ${number(10 ** low)}`], [infinite, "∞"]];
    for (let p = Math.ceil((low + room) / step) * step; p <= high; p += step) {
      taken.push([p, p > 3 ? `10${raised(p)}` : number(10 ** p)]);
    }
    return taken.filter(([at]) => at >= from && at <= to).sort(([a], [b]) => a - b);
  }

  // 0 where nothing is bounded, infinite for a NaN in the place of a number.
  function ratio({ ulp, radius }) {
    if (radius === Infinity || ulp === 0) return 0;
    return Number.isNaN(ulp / radius) ? Infinity : ulp / radius;
  }

  // The case of a point: labels, values, and what each of them is.
  function told(point, format, specs) {
    const { ulp, radius, row: [logOdds, spec, target, classes, logits, own] } = point;
    let exact = `[${logits.map((z) => exactly(real(z))).join(", ")}]`;
    if (classes > logits.length) exact += ` and ${classes - logits.length} more, which the document holds`;
    if (own !== undefined) exact += `; the target's is ${exactly(real(own))}`;
    return [
      ["format", format, "format"], ["Pt", probability(real(logOdds)), "pt"], ["error", `${number(ulp)} ulp`, "ulp"],
      ["tolerance", radius === Infinity ? "none, nothing is bounded" : `${number(radius)} ulp`, "radius"],
      ["error / tolerance", number(ratio(point)), "ratio"], ["target", `${target} (of ${classes} classes)`, "target"],
      ["parameters", specs[spec], "spec"], ["logits", exact, "wide"],
    ];
  }

  const evenly = (low, high, label) => [0.1, 0.5, 0.9].map((part) => low + part * (high - low)).map((at) => [at, label(at)]);

  return { real, ratio, told, across, up };
})();
