// Draws the charts. Everything they need is in the page: specifications and data lie in the JSON element "charts"; a
// data set that several charts share is stored once, by columns.
const { charts, datasets, config } = JSON.parse(document.getElementById("charts").textContent);
const slots = [...document.querySelectorAll("[data-chart]")];
const drawings = new Map(); // place of a chart → what Vega made there
const says = new Map(slots.map((slot) => [slot, slot.getAttribute("aria-label")]));
const zoomed = new Map(); // place of a chart → the two ends that a reader chose for its x axis

const chosen = (name, usual) => document.querySelector(`input[name=${name}]:checked`)?.value ?? usual;
const clock = () => chosen("clock", "step");
const nameOf = (slot) => (slot.dataset.clocked === undefined ? "" : `${clock()}:`) + slot.dataset.chart;

function rowsOf(columns) {
  const read = Object.entries(columns).map(([name, values]) => {
    return [name, values.words ? values.at.map((place) => values.words[place]) : values];
  });
  const length = read.length ? read[0][1].length : 0;
  return Array.from({ length }, (_, row) => Object.fromEntries(read.map(([name, values]) => [name, values[row]])));
}

// Whether one element draws all items of the mark.
const isLine = (item) => ["line", "area", "trail"].includes(item.mark.marktype);

// Where the long axis of a specification ends: those of steps, seconds and FLOPs are the ones that are logarithmic.
function longEnds(unit) {
  const { type, domain } = unit.encoding?.x?.scale ?? {};
  return type === "log" ? domain : unit.layer?.map(longEnds).find(Boolean);
}

const isLong = (unit) => Boolean(longEnds(unit));
const wholeAxis = (ends, scale) => (scale === "log" ? ends : [0, ends[1]]);

// A specification with its long axis as the reader wants to see it: even or logarithmic, all of it or a part.
function seen(unit, scale, ends) {
  const changed = { ...unit };
  if (unit.layer) changed.layer = unit.layer.map((part) => seen(part, scale, ends));
  const x = unit.encoding?.x;
  if (x?.scale?.type !== "log" || (scale === "log" && !ends)) return changed;
  const { values, ...axis } = x.axis ?? {};
  const domain = ends ?? wholeAxis(x.scale.domain, scale);
  const ticks = { tickCount: 6, labelExpr: "datum.value ? datum.label : '0'" };
  const own = { scale: { ...x.scale, type: scale, domain, clamp: !ends }, axis: { ...axis, ...ticks } };
  changed.encoding = { ...unit.encoding, x: { ...x, ...own } };
  if (ends) changed.mark = { ...(typeof unit.mark === "string" ? { type: unit.mark } : unit.mark), clip: true };
  return changed;
}

async function draw(slot) {
  const { spec, uses } = charts[nameOf(slot)];
  const own = Object.fromEntries(uses.map((key) => [key, rowsOf(datasets[key])]));
  const shown = { ...seen(spec, chosen("scale", "log"), zoomed.get(slot)), datasets: own };
  try {
    const drawing = await vegaEmbed(slot, shown, { renderer: "svg", actions: false, tooltip: false, config });
    drawings.get(slot)?.finalize();
    drawings.set(slot, drawing);
    // Vega would have a reader of the screen told no more than that here is a visualization.
    slot.setAttribute("role", "img");
    slot.setAttribute("aria-label", says.get(slot));
    slot.removeAttribute("aria-roledescription");
    slot.dispatchEvent(new Event("pointerleave"));
    showArms(slot);
  } catch (error) {
    // A chart from outside may be one that Vega refuses. The others are drawn all the same.
    slot.textContent = `not drawn: ${error.message}`;
  }
}

// From the top, with a pause after each, so that a reader can scroll meanwhile.
async function drawAll(some) {
  for (const slot of some) {
    await draw(slot);
    await new Promise((goOn) => setTimeout(goOn));
  }
  document.documentElement.dataset.drawn = clock();
}
