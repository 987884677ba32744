// The load of every expert: of all layers at an update, and of one layer over the updates.

/** Numbers of a colour of page.css, #rrggbb. */
function channels(name) {
  const value = parseInt(themeColor(name).slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Colour of a load, in hundredths of an equal share. An eighth of it and 8 times it are the ends of the scale. */
function loadColors() {
  const [less, even, more, dead] = ['less', 'even', 'more', 'dead'].map(channels);
  return share => {
    if (share === 0) return dead;
    const place = Math.max(-1, Math.min(1, Math.log2(share / 100) / 3));
    const end = place < 0 ? less : more;
    return even.map((value, i) => Math.round(value + (end[i] - value) * Math.abs(place)));
  };
}

function loadText(share) {
  if (share === undefined) return 'there is no such expert';
  return share === 0 ? 'no token (dead)' : `${numberText(share / 100)} × an equal share`;
}

/** A picture of cells that tells of the one under the pointer, or under a cursor that arrow keys move. */
class CellMap {
  constructor(label, tell) {
    this.canvas = element('canvas', {tabindex: 0, role: 'application', 'aria-label': label,
                                     keydown: event => this.key(event)});
    for (const name of ['pointermove', 'pointerdown']) {
      this.canvas.addEventListener(name, event => {
        const box = this.canvas.getBoundingClientRect();
        this.go(Math.floor((event.clientX - box.left) / box.width * this.columns),
                Math.floor((event.clientY - box.top) / box.height * this.rows));
      });
    }
    this.tell = tell;
    this.column = this.row = 0;
  }

  /** `cell(column, row)`: a share, or undefined. */
  draw(columns, rows, cell) {
    Object.assign(this, {columns, rows});
    const {canvas} = this;
    canvas.width = columns;
    canvas.height = rows;
    canvas.style.height = `${Math.max(rows * Math.max(3, Math.min(22, 420 / rows)), 24)}px`;
    const image = new ImageData(columns, rows);
    const color = loadColors(), none = channels('none');
    for (let row = 0, at = 0; row < rows; ++row) {
      for (let column = 0; column < columns; ++column, at += 4) {
        const share = cell(column, row);
        image.data.set(share === undefined ? none : color(share), at);
        image.data[at + 3] = 255;
      }
    }
    canvas.getContext('2d').putImageData(image, 0, 0);
    canvas.dataset.cells = columns * rows;
    this.column = Math.min(this.column, columns - 1);
    this.row = Math.min(this.row, rows - 1);
  }

  go(column, row) {
    this.column = Math.min(Math.max(column, 0), this.columns - 1);
    this.row = Math.min(Math.max(row, 0), this.rows - 1);
    this.tell(this.column, this.row);
  }

  key(event) {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.go(this.column + move[0], this.row + move[1]);
  }
}

/** The maps of one run. */
class LoadMaps {
  constructor(parent, name) {
    this.slider = element('input', {type: 'range', min: 0, value: 0, 'aria-label': `update of the loads of ${name}`,
                                    input: () => { this.follow = this.frame() === this.last(); this.draw(); }});
    this.follow = true;  // of the newest frame
    this.layer = element('select', {'aria-label': `layer of the loads of ${name}`, change: () => this.draw()});
    this.at = element('output');
    this.told = element('div', {class: 'readout', 'aria-live': 'polite'});
    this.toldOver = element('div', {class: 'readout', 'aria-live': 'polite'});
    this.map = new CellMap(`load of each expert (columns) of each layer (rows) of ${name}`, (expert, row) => {
      const {layers, load} = this.loads;
      this.told.textContent = `${this.at.textContent} · layer ${layers[row]} · expert ${expert}: ` +
        loadText(load[this.frame()][row][expert]);
    });
    this.over = new CellMap(`load of each expert (rows) over the updates (columns) of ${name}`, (frame, expert) => {
      const {layers, updates, load} = this.loads, row = this.layer.selectedIndex;
      this.toldOver.textContent = `update ${updates[frame]} · layer ${layers[row]} · expert ${expert}: ` +
        loadText(load[frame][row][expert]);
    });
    this.scale = element('p', {class: 'scale'});
    this.root = element('div', {class: 'map'}, element('h3', {}, name), this.scale,
      element('div', {class: 'row'}, element('label', {}, 'Update '), this.slider, this.at),
      this.map.canvas, this.told,
      element('div', {class: 'row'}, element('label', {}, 'Over the updates, layer ', this.layer)),
      this.over.canvas, this.toldOver);
    parent.append(this.root);
  }

  frame() { return Number(this.slider.value); }
  last() { return this.loads.updates.length - 1; }

  refresh(loads) {
    this.loads = loads;
    this.slider.max = this.last();
    if (this.follow) this.slider.value = this.last();
    if (this.layer.options.length !== loads.layers.length) {
      this.layer.replaceChildren(...loads.layers.map(layer => element('option', {}, String(layer))));
    }
    const color = loadColors();
    const steps = [[0, 'dead'], [13, '⅛'], [50, '½'], [100, '1'], [200, '2'], [800, '8 ×']];
    this.scale.replaceChildren(...steps.flatMap(([share, text]) =>
      [element('i', {style: `background:rgb(${color(share)})`}), text]));
    this.draw();
  }

  draw() {
    const {layers, updates, load} = this.loads;
    const frame = this.frame(), row = Math.max(this.layer.selectedIndex, 0);
    const most = Math.max(...load[frame].map(of => of.length));
    this.at.textContent = `update ${updates[frame].toLocaleString('en')}`;
    this.map.draw(most, layers.length, (expert, layer) => load[frame][layer][expert]);
    const experts = Math.max(...load.map(of => of[row].length));
    this.over.draw(updates.length, experts, (at, expert) => load[at][row][expert]);
    this.summary(load[frame]);
  }

  /** What the map shows, in words. */
  summary(frame) {
    const all = frame.flat();
    const dead = all.filter(share => share === 0).length;
    this.told.textContent = `${this.at.textContent}: ${all.length} experts in ${frame.length} layer` +
      `${frame.length === 1 ? '' : 's'}, ${dead} dead; the busiest has ${loadText(all.reduce((a, b) => Math.max(a, b), 0))}`;
  }
}
