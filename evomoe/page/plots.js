// Curves of all runs in one plot, drawn by dygraphs.

/** What all plots share. A zoom of one is that of all. */
const view = {axis: 'updates', logX: false, logY: false, hidden: new Set(), window: null};
const plots = [];
const noRun = '\u200b';  // what dygraphs calls the axis: the name of no run

/** Points of a run: {x, y, low, high}; `table` has a list for each column. */
function pointsOf(table, column) {
  const values = table ? table[column] : null;
  if (!values) return [];
  const low = table[column + '.low'], high = table[column + '.high'];
  const points = [];
  values.forEach((y, i) => {
    const x = table[view.axis][i];
    if (x === null || y === null || (view.logX && x <= 0) || (view.logY && y <= 0)) return;
    const least = low && low[i] !== null && !(view.logY && low[i] <= 0) ? low[i] : y;
    points.push({x, y, low: least, high: high && high[i] !== null ? high[i] : y});
  });
  return points;
}

/** Where an update of a run is on the axis, between the lines of its log around it. */
function placeOfUpdate(run, update) {
  if (view.axis === 'updates') return update;
  const {updates, [view.axis]: places} = run.training;
  let before = 0, from = 0;
  for (let i = 0; i < updates.length; ++i) {
    if (updates[i] >= update) {
      return from + (places[i] - from) * (update - before) / Math.max(updates[i] - before, 1);
    }
    before = updates[i];
    from = places[i];
  }
  return NaN;
}

/** The point of a sorted list that is nearest to x. */
function nearestPoint(points, x) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].x < x) low = middle + 1;
    else high = middle;
  }
  if (low > 0 && x - points[low - 1].x < points[low].x - x) --low;
  return points[low];
}

/**
 * A plot of `column`. `table(run)`: where its numbers are. `band`: what the shaded area means.
 * It is there while a run has a point.
 */
class Plot {
  constructor(parent, {id, title, column, table, band = '', text = numberText, positive = true}) {
    Object.assign(this, {id, title, column, table, band, text, positive, curves: []});
    this.surface = element('div', {class: 'plot', tabindex: 0, role: 'application', 'aria-label': title,
                                   keydown: event => this.key(event)});
    this.readout = element('div', {class: 'readout', 'aria-live': 'polite'});
    this.caption = element('figcaption');
    this.figure = element('figure', {id}, element('h3', {}, title), this.surface, this.readout, this.caption);
    this.parent = parent;
    this.graph = null;
    new ResizeObserver(() => { if (this.graph) this.graph.resize(); }).observe(this.surface);
    plots.push(this);
  }

  /** Takes the numbers of the runs, and a place in the page while there are any. */
  take(runs) {
    this.curves = runs.map((run, number) => ({run, number, points: pointsOf(this.table(run), this.column)}))
      .filter(curve => curve.points.length > 0);
    if (this.curves.length === 0) {
      this.figure.remove();
      if (this.graph) this.graph.destroy();
      this.graph = null;
    } else if (!this.figure.isConnected) {
      this.parent.closest('section').hidden = false;  // dygraphs measures its element
      this.parent.append(this.figure);
    }
  }

  /** Draws them. */
  draw() {
    const shown = this.curves.filter(curve => !view.hidden.has(curve.run.name));
    if (this.curves.length === 0) return;
    this.shown = shown;
    const count = shown.reduce((sum, curve) => sum + curve.points.length, 0);
    this.figure.dataset.points = count;
    this.caption.textContent = `${axes[view.axis].title} · ${shown.length} curve${shown.length === 1 ? '' : 's'}, ` +
      `${count} point${count === 1 ? '' : 's'}${this.band ? ' · band: ' + this.band : ''}`;
    const rows = new Map();
    shown.forEach((curve, at) => {
      for (const {x, y, low, high} of curve.points) {
        if (!rows.has(x)) rows.set(x, [x, ...shown.map(() => [null, null, null])]);
        rows.get(x)[at + 1] = [low, y, high];
      }
    });
    this.xs = [...rows.keys()].sort((a, b) => a - b);
    const file = this.xs.map(x => rows.get(x));
    if (file.length === 0) file.push([0, ...shown.map(() => [null, null, null])]);
    const options = {
      labels: [noRun, ...shown.map(curve => curve.run.name)],
      colors: shown.map(curve => runColor(curve.number)),
      logscale: view.logY && this.positive,
      drawPoints: this.xs.length < 40,
      axisLineColor: themeColor('line'),
      gridLineColor: themeColor('grid'),
      dateWindow: view.window,
      valueRange: null,
      includeZero: !view.logY && this.positive && this.column !== 'loss' && this.column !== 'perplexity',
      axes: {x: {logscale: view.logX, axisLabelFormatter: x => axes[view.axis].tick(x), pixelsPerLabel: 70},
             y: {axisLabelFormatter: y => numberText(y), axisLabelWidth: 56}},
    };
    if (shown.length === 0) {
      options.labels = [noRun, ' '];
      options.colors = ['transparent'];
      file.forEach(row => row.push([null, null, null]));
    }
    if (this.graph) {
      this.graph.updateOptions({file, ...options});
    } else {
      this.graph = new Dygraph(this.surface, file, {
        ...options,
        legend: 'never',
        customBars: true,
        connectSeparatedPoints: true,
        fillAlpha: 0.2,
        strokeWidth: 1.5,
        highlightCircleSize: 4,
        animatedZooms: false,
        highlightCallback: (event, x, points, row) => { this.row = row; this.tell(x); },
        unhighlightCallback: () => this.tell(null),
        underlayCallback: (context, area, graph) => this.drawStages(context, area, graph),
        zoomCallback: (from, to) => setWindow([from, to], this),
      });
    }
    this.row = -1;
    this.tell(null);
  }

  drawStages(context, area, graph) {
    context.save();
    context.font = '11px system-ui, sans-serif';
    context.setLineDash([3, 3]);
    const range = graph.xAxisRange();
    const taken = [];
    for (const {run, number} of this.shown) {
      for (const {update, name} of run.stages) {
        const place = placeOfUpdate(run, update);
        if (!Number.isFinite(place) || place < range[0] || place > range[1] || (view.logX && place <= 0)) continue;
        const x = area.x + area.w * graph.toPercentXCoord(place);
        context.strokeStyle = runColor(number);
        context.fillStyle = this.shown.length > 1 ? themeColor('faint') : runColor(number);
        context.beginPath();
        context.moveTo(x, area.y);
        context.lineTo(x, area.y + area.h);
        context.stroke();
        const near = taken.filter(other => Math.abs(other.x - x) < 90), row = near.length;
        if (row > 3 || near.some(other => other.name === name && Math.abs(other.x - x) < 3)) continue;
        taken.push({x, name});
        const wide = context.measureText(name).width;
        const left = x + 3 + wide > area.x + area.w ? x - 3 - wide : x + 3;
        context.fillText(name, left, area.y + 11 + 12 * row);
      }
    }
    context.restore();
  }

  /** The values at x, or the last ones. */
  tell(x) {
    const parts = [];
    if (x === null && this.shown.length > 0) parts.push(element('span', {}, 'At the end:'));
    if (x !== null) parts.push(element('span', {}, axes[view.axis].text(x)));
    for (const {run, number, points} of this.shown) {
      const {y, low, high} = x === null ? points[points.length - 1] : nearestPoint(points, x);
      const band = low < y || high > y ? ` (${this.text(low)} to ${this.text(high)})` : '';
      parts.push(element('span', {}, element('i', {class: 'chip', style: `background:${runColor(number)}`}),
                         `${run.name} `, element('b', {}, this.text(y)), band));
    }
    this.readout.replaceChildren(...parts);
  }

  /** Tells of a row of `xs`, and marks it. */
  pick(row) {
    this.row = Math.min(Math.max(row, 0), this.xs.length - 1);
    this.graph.setSelection(this.row);
    this.tell(this.xs[this.row]);
  }

  /** Makes the part that is shown `factor` times as wide, around the row that was picked. */
  zoom(factor) {
    const scale = view.logX ? [Math.log, Math.exp] : [Number, Number];
    const [from, to] = this.graph.xAxisRange().map(scale[0]);
    const picked = this.row >= 0 ? scale[0](this.xs[this.row]) : NaN;
    const centre = picked >= from && picked <= to ? picked : (from + to) / 2;
    const [least, most] = this.graph.xAxisExtremes();
    const range = [scale[1](centre - (centre - from) * factor), scale[1](centre + (to - centre) * factor)];
    const whole = range[0] <= least && range[1] >= most;
    setWindow(whole ? null : [Math.max(range[0], least), Math.min(range[1], most)]);
  }

  key(event) {
    if (!this.graph || this.xs.length === 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = event.shiftKey ? 10 : 1, last = this.xs.length - 1;
    const keys = {
      ArrowRight: () => this.pick(this.row < 0 ? 0 : this.row + step),
      ArrowLeft: () => this.pick(this.row < 0 ? last : this.row - step),
      Home: () => this.pick(0),
      End: () => this.pick(last),
      '+': () => this.zoom(0.5),
      '=': () => this.zoom(0.5),
      '-': () => this.zoom(2),
      '0': () => setWindow(null),
      Escape: () => setWindow(null),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
}

/** Shows a part of the axis, [from, to] or null for all, in every plot; `origin` shows it already. */
function setWindow(range, origin = null) {
  view.window = origin && !origin.graph.isZoomed('x') ? null : range;
  for (const plot of plots) {
    if (plot.graph && plot !== origin) plot.graph.updateOptions({dateWindow: view.window, valueRange: null});
  }
}
