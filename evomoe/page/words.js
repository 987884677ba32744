// Numbers and elements as the page writes them. Text from a run never becomes markup.

const units = [[1e18, 'E'], [1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];

/** Of a value: four digits, 1.235 k. */
function numberText(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-3) return value.toExponential(2);
  const unit = size >= 1e4 ? units.find(([least]) => size >= least) : null;
  const shown = unit ? value / unit[0] : value;
  return `${Number(shown.toPrecision(4))}${unit ? ' ' + unit[1] : ''}`;
}

/** 4000 seconds: 1:06:40. */
function durationText(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return '–';
  const whole = Math.round(seconds);
  const pad = number => String(number).padStart(2, '0');
  const days = Math.floor(whole / 86400), hours = Math.floor(whole / 3600) % 24;
  const minutes = Math.floor(whole / 60) % 60;
  if (days > 0) return `${days} d ${pad(hours)}:${pad(minutes)}`;
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

function byteText(bytes) {
  const unit = [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']].find(([least]) => bytes >= least);
  return unit ? `${Number((bytes / unit[0]).toPrecision(3))} ${unit[1]}` : `${bytes} B`;
}

const axes = {
  updates: {title: 'updates', text: value => `update ${Math.round(value).toLocaleString('en')}`, tick: numberText},
  tokens: {title: 'training tokens', text: value => `${numberText(value)} tokens`, tick: numberText},
  flops: {title: 'training compute (FLOP)', text: value => `${numberText(value)} FLOP`, tick: numberText},
  seconds: {title: 'training time', text: value => `after ${durationText(value)}`, tick: durationText},
};

/** An element with attributes (functions: listeners) and children (strings: text). */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key, value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** The colour of a run: told apart by those who see few colours, on white and on black. */
function runColor(number) {
  const first = ['#0b7bd0', '#e07b00', '#109a70', '#cc5fa4', '#8a6fd1', '#b8860b', '#3aa5b8', '#d1495b'];
  return number < first.length ? first[number] : `hsl(${(number * 137.5) % 360} 60% 50%)`;
}

/** A colour of page.css, as the viewer's light or dark scheme has it. */
function themeColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
}
