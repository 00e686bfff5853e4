// Shows or hides a method everywhere: a button of any key hides its marks in all charts, the charts that are of it
// alone, and makes its rows in the tables pale. Escape, or "all", shows every method again.
const hidden = new Set();

// Vega keeps at each element what it was drawn from: a row of the data, or for the label of an axis its text. A line is
// one element; it may join marks of several methods.
function showArms(slot) {
  for (const node of slot.querySelectorAll("svg *")) {
    const item = node.__data__;
    if (!item?.mark) continue;
    const items = isLine(item) ? item.mark.items : [item];
    const isOff = items.some(({ datum }) => hidden.has(datum?.method ?? datum?.value));
    node.classList.toggle("off", isOff);
  }
}

function hide(methods) {
  hidden.clear();
  for (const method of methods) hidden.add(method);
  for (const element of document.querySelectorAll("[data-arm]")) {
    const isHidden = hidden.has(element.dataset.arm);
    if (element.matches("button")) element.setAttribute("aria-pressed", String(!isHidden));
    else element.classList.toggle("off", isHidden);
  }
  for (const button of document.querySelectorAll(".key .all")) button.hidden = !hidden.size;
  for (const slot of slots) showArms(slot);
}

function listenToArms() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".key button");
    if (!button) return;
    if (button.matches(".all")) return hide([]);
    const method = button.dataset.arm;
    hide(hidden.has(method) ? [...hidden].filter((other) => other !== method) : [...hidden, method]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && hidden.size) hide([]);
  });
}
