// Of a long axis a reader can see a part alone: by a drag along it, by the wheel with Ctrl held (a pinch on a touchpad is
// that, too), or by keys on a chart that has the focus. Without Ctrl the wheel moves the page, as everywhere. A button
// under the chart's title, two clicks, or the key 0 show it all.
const LEAST = 8; // pixels: less is a click
const FINEST = 1e-4; // of the whole axis: a part is no smaller
const CLOSER = 0.7; // what is left of the axis that is seen after a step of the wheel, or a key
const ASIDE = 0.25; // of what is seen

// Of the chart's x axis: its scale, and a place on the screen in the pixels that the scale has.
function axisOf(slot, x = 0) {
  const plot = slot.querySelector("path.background").getScreenCTM();
  const scale = drawings.get(slot).view.scale("x");
  const width = scale.range()[1];
  return { scale, width, at: Math.min(Math.max((x - plot.e) / plot.a, 0), width) };
}

// What the next drawing of a chart shall show: the part between two ends, or all of it.
function choosePart(slot, ends) {
  const caption = slot.closest("figure").querySelector("figcaption");
  if (!ends) {
    zoomed.delete(slot);
    caption.querySelector(".reset")?.remove();
    return;
  }
  zoomed.set(slot, ends);
  if (caption.querySelector(".reset")) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "reset" });
  button.textContent = "whole axis";
  button.addEventListener("click", () => zoom(slot, null));
  caption.append(button);
}

function zoom(slot, ends) {
  choosePart(slot, ends);
  return draw(slot);
}

const busy = new Set(); // charts that are being drawn: what comes meanwhile from a wheel that turns on is left out

// See `share` of what is seen now, with the place `at` where it is, moved to the right by `aside` of it.
async function showPart(slot, share, aside = 0, at = axisOf(slot).width / 2) {
  if (busy.has(slot) || (!zoomed.has(slot) && share >= 1)) return;
  const { scale, width } = axisOf(slot);
  const [first, last] = wholeAxis(longEnds(charts[nameOf(slot)].spec), chosen("scale", "log"));
  const [from, to] = [scale(first), scale(last)];
  const size = width * share;
  const left = Math.min(Math.max(at - at * share + aside * width, from), to - size);
  const ends = size > 0.999 * (to - from) ? null : [left, left + size].map((x) => scale.invert(x));
  if (ends && ends[1] - ends[0] < FINEST * (last - first)) return;
  busy.add(slot);
  await zoom(slot, ends);
  busy.delete(slot);
}

const KEYS = {
  "+": (slot) => showPart(slot, CLOSER),
  "-": (slot) => showPart(slot, 1 / CLOSER),
  ArrowLeft: (slot) => showPart(slot, 1, -ASIDE),
  ArrowRight: (slot) => showPart(slot, 1, ASIDE),
  0: (slot) => zoomed.has(slot) && zoom(slot, null),
};
KEYS["="] = KEYS["+"]; // the same key, without Shift
KEYS._ = KEYS["-"];

function listenToKeys(slot) {
  slot.tabIndex = 0;
  slot.setAttribute("aria-keyshortcuts", "+ - ArrowLeft ArrowRight 0");
  slot.setAttribute("aria-description", "Keys: plus and minus zoom, arrows move, 0 shows the whole axis.");
  slot.addEventListener("keydown", (event) => {
    const isOurs = Object.hasOwn(KEYS, event.key) && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!isOurs || !drawings.has(slot)) return;
    event.preventDefault();
    KEYS[event.key](slot);
  });
}

function listenToWheel(slot) {
  const turn = (event) => {
    if (!(event.ctrlKey || event.metaKey) || !drawings.has(slot)) return;
    event.preventDefault(); // the browser would enlarge the page
    if (event.deltaY) showPart(slot, event.deltaY < 0 ? CLOSER : 1 / CLOSER, 0, axisOf(slot, event.clientX).at);
  };
  slot.addEventListener("wheel", turn, { passive: false });
}

function listenToDrags(slot, band) {
  let start = null;
  const stop = () => {
    start = null;
    band.hidden = true;
  };
  slot.addEventListener("pointerdown", (event) => {
    if (event.button || !drawings.has(slot)) return;
    start = event.clientX;
    slot.setPointerCapture(event.pointerId);
  });
  slot.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const { top, height } = slot.getBoundingClientRect();
    const [from, to] = [start, event.clientX].sort((a, b) => a - b);
    Object.assign(band.style, { left: `${from}px`, top: `${top}px`, width: `${to - from}px`, height: `${height}px` });
    band.hidden = false;
  });
  slot.addEventListener("pointerup", (event) => {
    if (start !== null && Math.abs(event.clientX - start) >= LEAST) {
      const { scale } = axisOf(slot);
      const ends = [start, event.clientX].map((x) => scale.invert(axisOf(slot, x).at)).sort((a, b) => a - b);
      if (ends[1] > ends[0]) zoom(slot, ends);
    }
    stop();
  });
  slot.addEventListener("pointercancel", stop);
  slot.addEventListener("dblclick", () => zoomed.has(slot) && zoom(slot, null));
}

function listenToZoom() {
  const band = floating("band");
  for (const slot of slots.filter((slot) => isLong(charts[nameOf(slot)].spec))) {
    slot.classList.add("long");
    listenToDrags(slot, band);
    listenToWheel(slot);
    listenToKeys(slot);
  }
}
