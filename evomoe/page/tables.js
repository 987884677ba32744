// Tables: routers at the end, where time and memory went, configuration.

/** A table in a box that scrolls by itself; cells are text, numbers to the right. */
function tableOf(caption, header, rows) {
  const cell = value => typeof value === 'number' ? element('td', {class: 'number'}, numberText(value))
    : element('td', {}, value === null || value === undefined ? '–' : String(value));
  return element('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption}, element('table', {},
    element('caption', {}, caption),
    element('thead', {}, element('tr', {}, ...header.map(text => element('th', {scope: 'col'}, text)))),
    element('tbody', {}, ...rows.map(row => element('tr', {}, ...row.map(cell))))));
}

/** One that is closed until it is asked for. */
function closedTable(summary, header, rows, isOpen) {
  return element('details', isOpen ? {open: ''} : {}, element('summary', {}, summary), tableOf(summary, header, rows));
}

function routerTable(run) {
  if (!run.routers) return [];
  const measures = {active_experts: 'experts per token', load_min: 'least load', load_max: 'largest load', max_vio: 'max_vio',
                    dead_experts: 'dead', entropy: 'entropy (nats)', dropped_share: 'dropped', unrouted_share: 'unrouted'};
  const keys = Object.keys(measures).filter(key => run.routers.some(router => router[key] !== undefined));
  return [closedTable(`${run.name}: each layer at its last log line`, ['layer', ...keys.map(key => measures[key])],
                      run.routers.map(router => [router.layer, ...keys.map(key => router[key])]))];
}

function similarityTable(run) {
  if (!run.similarity_lines) return [];
  return [closedTable(`${run.name}: similarity of the experts of each layer, at first and at last`,
    ['update', 'when', 'layer', 'mean', 'least', 'most'],
    run.similarity_lines.flatMap(line => line.layers.map(of =>
      [line.completed_updates, line.when, of.layer, of.mean, of.least, of.most])))];
}

function timeTable(run) {
  if (!run.profile) return [];
  const {parts, ms, updates} = run.profile;
  return [tableOf(`${run.name}: where the time of ${updates} updates went (--profile)`, ['part', 'ms per update', '%'],
                  parts.map(of => [of.part, of.ms, 100 * of.ms / ms]))];
}

function memoryTable(run) {
  if (!run.memory_peak) return [];
  const names = ['program', 'parameters', 'gradients', 'moments', 'activations_and_workspace', 'total'];
  return [tableOf(`${run.name}: memory at its peak`, ['part', 'size'],
                  names.map(name => [name.replaceAll('_', ' '), byteText(run.memory_peak[name])]))];
}

function threadTable(run) {
  if (!run.threads) return [];
  return [tableOf(`${run.name}: changes of the number of threads`, ['update', 'threads', 'before', 'speed / speed before'],
                  run.threads.map(line => [line.completed_updates, line.threads, line.before, line.ratio]))];
}

function differenceTable(data) {
  if (data.runs.length < 2) return [];
  if (data.differences.length === 0) return [element('p', {}, 'The options of these runs are the same.')];
  return [tableOf('What differs between the runs', ['option', ...data.runs.map(run => run.name)],
                  data.differences.map(({option, values}) => ['--' + option, ...values]))];
}

function settingTable(run) {
  const rows = Object.entries(run.settings ?? {}).map(([option, value]) => ['--' + option, value]);
  return rows.length > 0 ? [closedTable(`${run.name}: all ${rows.length} options`, ['option', 'value'], rows)] : [];
}

/** Puts elements into `parent`. Those that a reader has opened or closed stay so. */
function replaceTables(parent, made) {
  const state = new Map([...parent.querySelectorAll('details')].map(old => [old.firstChild.textContent, old.open]));
  for (const details of made.filter(node => node.tagName === 'DETAILS')) {
    details.open = state.get(details.firstChild.textContent) ?? details.open;
  }
  parent.replaceChildren(...made);
}
