// Draws the charts of error in ulps against Pt with uPlot, from the JSON in the page, and lets a reader ask each point
// for its case: by pointer, or with the arrow keys. polyref/report/scatter.py says what the JSON holds.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const { real, ratio } = words;
  const { colour } = painting;
  const root = document.documentElement;
  const charts = [];

  class Chart {
    constructor(figure, chart) {
      Object.assign(this, { figure, data: chart, place: figure.querySelector(".plot"), picked: null });
      this.series = chart.series.map((s) => this.prepared(s));
      this.whole = { x: chart.x, y: chart.y };
      this.view = this.whole;
      figure.hidden = false;
      const font = `12px ${getComputedStyle(figure).fontFamily}`;
      const axis = (label, size, marks) => ({
        font, label, labelFont: font, labelSize: 20, size, ticks: { show: false },
        stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 },
        splits: (u, k, from, to) => marks(from, to).map(([at]) => at),
        values: (u, splits, k) => marks(u.scales[k ? "y" : "x"].min, u.scales[k ? "y" : "x"].max).map(([, text]) => text),
      });
      const facets = ["x", "y"].map((scale) => ({ scale, auto: true }));
      this.u = new uPlot({
        mode: 2, ...this.size(), legend: { show: false }, padding: [8, 14, 0, 0],
        cursor: {
          x: false, y: false, points: { show: false }, dataIdx: () => null,
          drag: { x: true, y: true, uni: 24, setScale: false }, bind: { dblclick: () => () => this.look(this.whole) },
        },
        scales: { x: { time: false, range: () => this.view.x }, y: { range: () => this.view.y } },
        axes: [
          axis("Pt, the probability of the target", 30, (from, to) => words.across(data.bend, chart.ends, from, to, this.size().width - 90)),
          axis("error in ulps", 62, (from, to) => words.up(chart, from, to, this.size().height - 70)),
        ],
        series: [{}, ...this.series.map((s) => ({ facets, paths: () => this.marks(s) }))],
        hooks: { drawAxes: [() => painting.ground(this.u, chart, this.shown())], draw: [() => this.drawn()], setSelect: [() => this.zoom()] },
      }, [null, ...this.series.map((s) => [s.xs, s.ys])], (u, init) => { this.u = u; this.place.append(u.root); init(); });
      this.ring = this.u.over.appendChild(document.createElement("span"));
      this.ring.className = "ring";
      this.listen();
      this.pick(this.worst());
    }

    prepared(s) {
      const { left, right, low, zero, infinite } = this.data;
      const { name, shape } = data.formats[s.format];
      const points = s.points.map(([row, ulp, radius]) => ({ row: data.rows[row], ulp: real(ulp), radius: real(radius) }));
      const x = ({ row: [logOdds] }) => Math.min(Math.max(Math.asinh(real(logOdds) / data.bend) || 0, left), right);
      const y = ({ ulp }) => (!(ulp < Infinity) ? infinite : ulp > 0 ? Math.max(low, Math.log10(ulp)) : zero);
      const xs = points.map(x);
      const order = xs.map((_, i) => i).sort((a, b) => xs[a] - xs[b]);
      return { ...s, name, shape: new Path2D(shape), points, xs, ys: points.map(y), order, shown: true };
    }

    size() {
      const width = Math.max(this.place.clientWidth, 200);
      return { width, height: width < 520 ? 340 : 400 };
    }

    shown() {
      return this.series.filter((s) => s.shown);
    }

    marks(s) {
      painting.marks(this.u, s, (i) => this.at({ s, i }, true));
      return null; // there is no path that uPlot should draw
    }

    drawn() {
      // The ring is no part of the picture, which is scaled for paper.
      if (root.classList.contains("printing") && this.picked) painting.ring(this.u, this.at(this.picked, true));
      this.figure.dataset.drawn = "yes";
      if (charts.every((c) => c.figure.dataset.drawn)) performance.mark("charts-drawn");
      this.circle();
    }

    zoom() {
      const { left, top, width, height } = this.u.select;
      if (!width || !height) return;
      const { view, u } = this;
      this.look({
        x: width < u.over.clientWidth ? [u.posToVal(left, "x"), u.posToVal(left + width, "x")] : view.x,
        y: height < u.over.clientHeight ? [u.posToVal(top + height, "y"), u.posToVal(top, "y")] : view.y,
      });
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    }

    look(view) {
      this.view = view;
      this.figure.querySelector(".reset").hidden = view === this.whole;
      this.u.batch(() => ["x", "y"].forEach((k) => this.u.setScale(k, { min: view[k][0], max: view[k][1] })));
    }

    // The point nearest to a place in pixels, if it is within reach.
    nearest(left, top, reach = 30) {
      let found = null;
      let best = reach ** 2;
      for (const s of this.shown()) {
        for (let i = s.points.length - 1; i >= 0; i -= 1) {
          const [x, y] = this.at({ s, i });
          const away = (x - left) ** 2 + (y - top) ** 2;
          if (away < best) [best, found] = [away, { s, i }];
        }
      }
      return found;
    }

    // The worst point lies last in its series.
    worst() {
      const last = this.shown().map((s) => ({ s, i: s.points.length - 1 }));
      return last.sort((a, b) => ratio(b.s.points[b.i]) - ratio(a.s.points[a.i]) || 0)[0] ?? null;
    }

    pick(point) {
      if (point && this.picked && point.s === this.picked.s && point.i === this.picked.i) return;
      this.picked = point;
      this.circle();
      this.figure.querySelector(".case").replaceChildren(...(point ? this.told(point) : []));
    }

    told({ s, i }) {
      return words.told(s.points[i], s.name, data.specs).map(([label, value, kind]) => {
        const part = document.createElement("span");
        part.append(Object.assign(document.createElement("i"), { textContent: label }), " ");
        part.append(Object.assign(document.createElement("b"), { textContent: value }));
        part.className = kind === "ratio" && i >= s.points.length - s.beyond ? "beyond" : kind;
        return part;
      });
    }

    // Where a point lies, in pixels of the page or of the canvas.
    at({ s, i }, canvas = false) {
      return [this.u.valToPos(s.xs[i], "x", canvas), this.u.valToPos(s.ys[i], "y", canvas)];
    }

    circle() {
      const { ring, picked, u } = this;
      if (!ring) return;
      const [left, top] = picked ? this.at(picked) : [-1, -1];
      ring.hidden = !picked || left < 0 || top < 0 || left > u.over.clientWidth || top > u.over.clientHeight;
      ring.style.transform = `translate(${left}px, ${top}px)`;
    }

    // Left and right go along a format, up and down to the nearest point of another.
    step(key) {
      const shown = this.shown();
      if (!shown.length) return;
      const at = this.picked ?? { s: shown[0], i: shown[0].order[0] };
      const { s } = at;
      const along = s.order.indexOf(at.i);
      const to = { ArrowLeft: along - 1, ArrowRight: along + 1, Home: 0, End: s.order.length - 1 }[key];
      if (to !== undefined) {
        this.pick({ s, i: s.order[Math.min(Math.max(to, 0), s.order.length - 1)] });
        return;
      }
      const other = shown[(shown.indexOf(s) + (key === "ArrowUp" ? 1 : shown.length - 1)) % shown.length];
      const away = (i) => Math.abs(other.xs[i] - s.xs[at.i]);
      this.pick({ s: other, i: other.order.reduce((best, i) => (away(i) < away(best) ? i : best)) });
    }

    listen() {
      const { u, figure, place } = this;
      const point = (e) => {
        const box = u.over.getBoundingClientRect();
        this.pick(this.nearest(e.clientX - box.left, e.clientY - box.top) ?? this.picked);
      };
      u.over.addEventListener("pointermove", point);
      u.over.addEventListener("pointerdown", point);
      place.addEventListener("keydown", (e) => {
        if (e.key === "Escape") { this.pick(this.worst()); place.blur(); }
        if (!/^(Arrow|Home$|End$)/.test(e.key)) return;
        e.preventDefault();
        this.step(e.key);
      });
      figure.querySelector(".reset").addEventListener("click", () => this.look(this.whole));
      figure.querySelectorAll(".legend button").forEach((button, k) => button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", shown);
        this.series[k].shown = shown;
        u.setSeries(k + 1, { show: shown });
        if (!this.picked?.s.shown) this.pick(this.worst());
      }));
      new ResizeObserver(() => {
        const size = this.size();
        if (size.width !== u.width || size.height !== u.height) u.setSize(size);
      }).observe(place);
    }
  }

  document.querySelectorAll("figure.errors").forEach((figure, k) => charts.push(new Chart(figure, data.charts[k])));

  const again = () => charts.forEach((c) => c.u.redraw(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  // Paper is white: the class keeps the dark colours away while a page is printed.
  const print = (on) => { root.classList.toggle("printing", on); again(); };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
})();
