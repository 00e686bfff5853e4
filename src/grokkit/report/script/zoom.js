// A drag along a long axis shows that part of it alone; a button under the chart's title, or two clicks, show it all.
const LEAST = 8; // pixels: less is a click

// From a place on the screen to a value of the chart's x axis.
function valueAt(slot, x) {
  const plot = slot.querySelector("path.background").getScreenCTM();
  const { view } = drawings.get(slot);
  const within = Math.min(Math.max((x - plot.e) / plot.a, 0), view.scale("x").range()[1]);
  return view.scale("x").invert(within);
}

// What the next drawing of a chart shall show: the part between two ends, or all of it.
function choosePart(slot, ends) {
  const caption = slot.closest("figure").querySelector("figcaption");
  caption.querySelector(".reset")?.remove();
  if (ends) {
    zoomed.set(slot, ends);
    const button = Object.assign(document.createElement("button"), { type: "button", className: "reset" });
    button.textContent = "whole axis";
    button.addEventListener("click", () => zoom(slot, null));
    caption.append(button);
  } else {
    zoomed.delete(slot);
  }
}

function zoom(slot, ends) {
  choosePart(slot, ends);
  return draw(slot);
}

function listenToDrags() {
  const band = floating("band");
  for (const slot of slots.filter((slot) => isLong(charts[nameOf(slot)].spec))) {
    slot.classList.add("long");
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
        const ends = [start, event.clientX].map((x) => valueAt(slot, x)).sort((a, b) => a - b);
        if (ends[1] > ends[0]) zoom(slot, ends);
      }
      stop();
    });
    slot.addEventListener("pointercancel", stop);
    slot.addEventListener("dblclick", () => zoomed.has(slot) && zoom(slot, null));
  }
}
