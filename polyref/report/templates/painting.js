// What uPlot leaves to others in the charts: the marks, the tolerances, and the two rows that are no decades.
"use strict";
const painting = (() => {
  // As the lines in the legend: .t0 to .t5 of report.css.
  const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2]];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function clipped({ ctx, bbox }, top, draw) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, top, bbox.width, bbox.top + bbox.height - top);
    ctx.clip();
    draw(ctx, bbox);
    ctx.restore();
  }

  // What lies below the marks.
  function ground(u, { low, high, zero, infinite }, series) {
    const y = (v) => u.valToPos(v, "y", true);
    const [roof, floor] = [y((high + infinite) / 2), y((low + zero) / 2)];
    clipped(u, u.bbox.top, (ctx, bbox) => {
      ctx.fillStyle = colour("--code");
      ctx.fillRect(bbox.left, floor, bbox.width, bbox.height);
      ctx.fillRect(bbox.left, bbox.top, bbox.width, roof - bbox.top);
    });
    // A tolerance that is higher than all errors leaves the picture before the row of what is infinite.
    clipped(u, Math.max(u.bbox.top, roof), (ctx) => {
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.globalAlpha = 0.75;
      for (const s of series) {
        ctx.strokeStyle = colour(`--s${s.format % 6}`);
        ctx.setLineDash(DASHES[s.format % 6].map((d) => d * devicePixelRatio));
        ctx.beginPath();
        steps(u, s.envelope, (radius) => y(Math.max(zero, Math.log10(radius))), ctx);
        ctx.stroke();
      }
    });
  }

  function steps(u, envelope, height, ctx) {
    let open = false;
    for (let i = 0; i + 1 < envelope.length; i += 1) {
      const [from, to] = [envelope[i][0], envelope[i + 1][0]].map((v) => u.valToPos(v, "x", true));
      const at = height(words.real(envelope[i][1]));
      if (!Number.isFinite(at)) { open = false; continue; }
      if (open) ctx.lineTo(from, at); else ctx.moveTo(from, at);
      ctx.lineTo(to, at);
      open = true;
    }
  }

  // A mark is drawn at the origin; `at` says where that is for each.
  function marks(u, s, at) {
    const [fill, ink, paper] = [colour(`--s${s.format % 6}`), colour("--ink"), colour("--bg")];
    const first = s.points.length - s.beyond; // beyond the tolerance from here on
    const size = devicePixelRatio * (s.points.length > 500 ? 0.7 : 1);
    clipped(u, u.bbox.top, (ctx) => s.points.forEach((_, i) => {
      const scale = size * (i < first ? 1 : 1.6);
      ctx.setTransform(scale, 0, 0, scale, ...at(i));
      ctx.fillStyle = fill;
      ctx.fill(s.shape);
      ctx.lineWidth = i < first ? 0.6 : 1;
      ctx.strokeStyle = i < first ? paper : ink;
      ctx.stroke(s.shape);
    }));
  }

  function ring(u, [x, y]) {
    clipped(u, u.bbox.top, (ctx) => {
      ctx.beginPath();
      ctx.arc(x, y, 8 * devicePixelRatio, 0, 7);
      Object.assign(ctx, { strokeStyle: colour("--ink"), lineWidth: 2 * devicePixelRatio });
      ctx.stroke();
    });
  }

  return { colour, ground, marks, ring };
})();
