// Puts the page together, and brings it up to date.

const dataElement = document.getElementById('data');
const page = {data: JSON.parse(dataElement.textContent), maps: new Map(), tokens: new Map(), validations: new Map()};

const part = (section, name) => document.querySelector(`#${section} .${name}`);

function makePlots() {
  const training = run => run.training;
  const layers = 'a tenth of the layers is below it, a tenth above; the curve is the median layer';
  const add = (section, options) => new Plot(part(section, 'plots'), {table: training, ...options, id: 'plot-' + options.column});
  add('curves', {title: 'Training loss (bits)', column: 'loss', band: 'least and largest of the lines of a point'});
  add('routers', {title: 'Temperature τ of the gate', column: 'temperature'});
  add('routers', {title: 'Experts per token, mean over layers', column: 'active_experts'});
  add('routers', {title: 'Experts per token by layer', column: 'layer_experts', band: layers});
  add('routers', {title: 'Dead experts, all layers', column: 'dead_experts'});
  add('routers', {title: 'max_vio: largest load / mean − 1', column: 'max_vio', band: layers});
  add('routers', {title: 'Load: standard deviation / mean', column: 'load_cv', band: layers});
  add('routers', {title: 'Entropy of the gate (nats)', column: 'entropy', band: layers});
  add('routers', {title: 'Share of assignments dropped', column: 'dropped_share', band: layers});
  add('routers', {title: 'Similarity of experts (copies of one: 1)', column: 'similarity', band: layers,
                  table: run => run.similarity});
  add('cost', {title: 'Time per update (ms)', column: 'ms_per_update'});
  add('cost', {title: 'Tokens per second', column: 'tokens_per_second'});
  add('cost', {title: 'Compute per update (FLOP)', column: 'flops_per_update'});
  add('cost', {title: 'Learning rate', column: 'lr'});
  add('cost', {title: 'Norm of the gradient', column: 'gradient_norm'});
}

/** A plot for each measure of each validation set that a run has. */
function makeValidationPlots(runs) {
  const titles = {perplexity: 'Perplexity', loss: 'Loss (bits)', accuracy: 'Accuracy (%)', bleu: 'BLEU', mcc: 'Matthews’ correlation',
                  pearson: 'Pearson’s correlation', spearman: 'Spearman’s correlation'};
  for (const run of runs) {
    for (const [subset, table] of Object.entries(run.validations)) {
      for (const column of Object.keys(titles).filter(name => table[name])) {
        if (column === 'loss' && table.perplexity) continue;  // which has the gate's loss in it
        const id = `plot-${subset}-${column}`;
        if (page.validations.has(id)) continue;
        page.validations.set(id, new Plot(part('curves', 'plots'), {
          id, column, title: `${titles[column]} on ‘${subset}’`, positive: ['perplexity', 'loss'].includes(column),
          table: other => other.validations[subset]}));
      }
    }
  }
}

function showRuns(runs) {
  const box = document.getElementById('runs');
  if (box.querySelectorAll('label').length === runs.length) return;
  box.replaceChildren(box.firstElementChild, ...runs.map((run, number) => element('label', {title: run.folder},
    element('input', {type: 'checkbox', checked: '', change: event => {
      if (event.target.checked) view.hidden.delete(run.name);
      else view.hidden.add(run.name);
      drawPlots();
    }}), element('i', {class: 'chip', style: `background:${runColor(number)}`}), run.name)));
}

function showSummary({runs, comparison}) {
  const paragraphs = texts => texts.map(text => element('p', {}, text));
  document.querySelector('#summary .sentences').replaceChildren(...paragraphs(comparison),
    ...runs.flatMap(run => [element('h3', {}, run.name), ...paragraphs(run.sentences)]));
}

function showLoads(runs) {
  for (const run of runs.filter(each => each.loads)) {
    if (!page.maps.has(run.name)) page.maps.set(run.name, new LoadMaps(part('loads', 'maps'), run.name));
    page.maps.get(run.name).refresh(run.loads);
  }
}

function showTokens(runs) {
  for (const run of runs.filter(each => each.tokens)) {
    if (page.tokens.has(run.name)) continue;
    page.tokens.set(run.name, new TokenRoutes(part('tokens', 'tokens'), run.name));
    page.tokens.get(run.name).refresh(run.tokens);
  }
}

function drawPlots() {
  for (const plot of plots) plot.take(page.data.runs);
  for (const plot of plots) plot.draw();
}

/** A section without anything in it is not shown, nor the link to it. */
function hideEmptySections() {
  for (const section of document.querySelectorAll('main section')) {
    const boxes = [...section.querySelectorAll('.plots, .maps, .tables, .tokens, .sentences')];
    section.hidden = boxes.every(box => box.childElementCount === 0);
    document.querySelector(`nav a[href="#${section.id}"]`).hidden = section.hidden;
  }
}

function show(data) {
  page.data = data;
  const {runs} = data;
  document.getElementById('title').textContent = runs.map(run => run.name).join(', ');
  document.title = `${runs.map(run => run.name).join(', ')} – evomoe`;
  document.getElementById('made').textContent = `evomoe ${data.version}, ${data.made}`;
  showRuns(runs);
  showSummary(data);
  makeValidationPlots(runs);
  drawPlots();
  showLoads(runs);
  showTokens(runs);
  replaceTables(part('routers', 'tables'), runs.flatMap(run => [...similarityTable(run), ...routerTable(run)]));
  replaceTables(part('cost', 'tables'), runs.flatMap(run => [...memoryTable(run), ...timeTable(run), ...threadTable(run)]));
  replaceTables(part('settings', 'tables'), [...differenceTable(data), ...runs.flatMap(settingTable)]);
  hideEmptySections();
}

document.getElementById('axis').addEventListener('change', event => {
  view.axis = event.target.value;
  view.window = null;
  drawPlots();
});
document.getElementById('log-x').addEventListener('change', event => {
  view.logX = event.target.checked;
  view.window = null;
  drawPlots();
});
document.getElementById('log-y').addEventListener('change', event => {
  view.logY = event.target.checked;
  drawPlots();
});
document.getElementById('whole').addEventListener('click', () => setWindow(null));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => show(page.data));

makePlots();
show(page.data);
if (dataElement.dataset.live === 'true') followServer(show);
