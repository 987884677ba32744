// Which tokens go to which expert.

function expertColor(expert, experts) {
  return `hsl(${Math.round(expert * 360 / Math.max(experts, 1) + expert % 2 * 7)} 65% ${expert % 3 === 1 ? 72 : 80}%)`;
}

/** A token as it is told of: white space can be seen. */
function shownToken(text) {
  return text.replaceAll('\n', '⏎').replaceAll(' ', '␣') || '(empty)';
}

/** The typical tokens of each expert, and a text in the colours of its experts. */
class TokenRoutes {
  constructor(parent, name) {
    this.layer = element('select', {'aria-label': `layer of the tokens of ${name}`, change: () => this.draw()});
    this.told = element('div', {class: 'readout', 'aria-live': 'polite'}, 'Point at a token, or click it, to see its weights.');
    this.text = element('div', {class: 'text', tabindex: 0, role: 'region', 'aria-label': 'tokens in the colours of their experts'});
    for (const kind of ['pointerover', 'click']) {
      this.text.addEventListener(kind, event => this.tell(event.target));
    }
    this.typical = element('div');
    this.note = element('p', {class: 'hint'});
    parent.append(element('div', {class: 'map'}, element('h3', {}, name), this.note,
      element('div', {class: 'row'}, element('label', {}, 'Layer ', this.layer)), this.told, this.text, this.typical));
  }

  refresh(tokens) {
    this.tokens = tokens;
    this.note.textContent = `${numberText(tokens.tokens)} tokens of ‘${tokens.subset}’ by ${tokens.checkpoint} ` +
      `(update ${tokens.update}), routed as in a validation.`;
    this.layer.replaceChildren(...tokens.layers.map(of => element('option', {}, String(of.layer))));
    this.draw();
  }

  draw() {
    const {text, begins, layers} = this.tokens;
    const {experts, route, typical} = layers[this.layer.selectedIndex];
    const first = new Set(begins.slice(1));
    this.text.replaceChildren(...text.flatMap((token, i) => {
      const color = route[i].length > 0 ? `background:${expertColor(route[i][0][0], experts)}` : 'background:none;color:inherit';
      const span = element('span', {style: color, 'data-token': i}, token);
      return first.has(i) ? ['\n· ', span] : [span];
    }));
    this.typical.replaceChildren(tableOf('The most typical tokens of each expert (count, share of the token’s assignments)',
      ['expert', 'tokens'], typical.map((list, expert) => [String(expert), list.length === 0 ? '–'
        : list.map(([token, count, share]) => `${shownToken(token)} (${count}, ${Math.round(100 * share)} %)`).join('  ')])));
    [...this.typical.querySelectorAll('tbody tr')].forEach((row, expert) => {
      row.firstChild.prepend(element('i', {class: 'chip', style: `background:${expertColor(expert, experts)}`}));
    });
  }

  tell(target) {
    const at = target.dataset.token;
    if (at === undefined) return;
    const {layer, route} = this.tokens.layers[this.layer.selectedIndex];
    const weights = route[at].map(([expert, weight]) => `expert ${expert}: ${numberText(weight)}`).join(' · ');
    this.told.textContent = `‘${shownToken(this.tokens.text[at])}’ in layer ${layer}: ${weights || 'no expert (dropped)'}`;
  }
}
