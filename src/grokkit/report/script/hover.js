// Says what the mark nearest to the pointer stands for, and brings out the line that it is on.
const REACH = 100; // pixels

function floating(className) {
  return document.body.appendChild(Object.assign(document.createElement("div"), { className, hidden: true }));
}

function* marksOf(slot) {
  for (const node of slot.querySelectorAll("svg *:not(.off)")) {
    const first = node.__data__;
    if (!first?.mark) continue;
    const matrix = node.parentNode.getScreenCTM();
    for (const item of isLine(first) ? first.mark.items : [first]) {
      if (item.tooltip && item.defined !== false) yield { item, node, ...placeOf(item, matrix) };
    }
  }
}

// Where on the screen an item's middle is, and how far it reaches to both sides.
function placeOf(item, { a, d, e, f }) {
  const width = item.width ?? (item.x2 === undefined ? 0 : item.x2 - item.x);
  const height = item.height ?? (item.y2 === undefined ? 0 : item.y2 - item.y);
  return {
    x: a * (item.x + width / 2) + e,
    y: d * (item.y + height / 2) + f,
    halfWidth: Math.abs(a * width) / 2,
    halfHeight: Math.abs(d * height) / 2,
  };
}

function nearest(slot, x, y) {
  let [best, least] = [null, REACH]; // of marks at one place the one on top
  for (const mark of marksOf(slot)) {
    const sideways = Math.max(Math.abs(x - mark.x) - mark.halfWidth, 0);
    const distance = Math.hypot(sideways, Math.max(Math.abs(y - mark.y) - mark.halfHeight, 0));
    if (distance <= least) [best, least] = [mark, distance];
  }
  return best;
}

// Labels are text here as everywhere: none becomes markup. What is not there, such as a step never reached, is "null".
function say(tip, said) {
  const all = typeof said === "object" ? Object.entries(said) : [["", said]];
  const lines = all.filter(([title, value]) => title === "method" || value !== "null");
  tip.replaceChildren(
    ...lines.map(([title, value]) => {
      const isMethod = title === "method";
      const line = document.createElement("div");
      if (title && !isMethod) line.append(Object.assign(document.createElement("span"), { textContent: title }));
      line.append(Object.assign(document.createElement(isMethod ? "b" : "i"), { textContent: value }));
      return line;
    }),
  );
}

function listenToPointer() {
  const tip = floating("tip");
  const dot = floating("dot");
  let brought = null;
  const leave = () => {
    brought?.classList.remove("near");
    tip.hidden = dot.hidden = true;
  };
  for (const slot of slots) {
    const look = (event) => {
      leave();
      const found = nearest(slot, event.clientX, event.clientY);
      if (!found) return;
      say(tip, found.item.tooltip);
      tip.hidden = false;
      const left = found.x + tip.offsetWidth + 24 > innerWidth ? found.x - tip.offsetWidth - 12 : found.x + 12;
      tip.style.translate = `${Math.max(left, 4)}px ${Math.max(found.y - tip.offsetHeight - 8, 4)}px`;
      if (!isLine(found.item)) return;
      dot.hidden = false;
      dot.style.translate = `${found.x}px ${found.y}px`;
      brought = found.node;
      brought.classList.add("near");
    };
    slot.addEventListener("pointermove", look);
    slot.addEventListener("pointerdown", look);
    // A finger leaves at once; what it asked for stays until the page is moved.
    slot.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && leave());
  }
  addEventListener("scroll", leave, { passive: true });
}
