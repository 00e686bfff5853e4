// A reader who tries everything. What they saw stands at the end in the title, as JSON.
(async () => {
  const slots = [...document.querySelectorAll("[data-chart]")];
  const drawn = async (clock) => {
    while (document.documentElement.dataset.drawn !== clock) await new Promise((goOn) => setTimeout(goOn, 20));
  };
  const press = (selector) => document.querySelector(selector).click();
  const choose = async (value, clock) => {
    delete document.documentElement.dataset.drawn;
    press(`input[value=${value}]`);
    await drawn(clock);
  };
  // A chart drawn anew tells itself that the pointer has left it. What else waited for the drawing goes on first.
  const drawnAnew = async (slot) => {
    await new Promise((goOn) => slot.addEventListener("pointerleave", goOn, { once: true }));
    await new Promise((goOn) => setTimeout(goOn));
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const isShown = (node) => getComputedStyle(node).display !== "none";
  const key = (name) => document.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const point = (type, clientX, clientY, slot) => slot.dispatchEvent(new PointerEvent(type, { clientX, clientY }));
  const titles = (slot) => [...slot.querySelectorAll("svg text")].map((text) => text.textContent);
  const axisOf = (slot) => titles(slot).find((text) => /steps|seconds|FLOPs/.test(text));
  const saw = {};
  await drawn("step");

  // A point of the first thin line, and what is said of it.
  saw.said = [];
  for (const slot of slots) {
    const itemsOf = (node) => node.__data__?.mark?.items.filter((item) => item.tooltip) ?? [];
    const line = [...slot.querySelectorAll("svg path")].find((node) => itemsOf(node).length);
    const item = itemsOf(line).at(-1);
    const to = line.parentNode.getScreenCTM();
    point("pointermove", to.a * item.x + to.e, to.d * item.y + to.f, slot);
    saw.said.push(document.querySelector(".tip").hidden ? "" : document.querySelector(".tip").innerText);
  }

  const button = document.querySelector('.key button[data-arm="grad-norm"]');
  const isOfIt = (node) => node.__data__?.datum?.method === "grad-norm";
  const marks = () => all("[data-chart] svg path").filter((node) => isOfIt(node) && isShown(node));
  const charts = () => new Set(marks().map((mark) => mark.closest("[data-chart]").dataset.chart)).size;
  saw.marks = [charts()];
  button.click();
  saw.marks.push(charts());
  saw.pressed = all('.key button[data-arm="grad-norm"]').map((one) => one.getAttribute("aria-pressed"));
  saw.pale = all("tr.off").map((row) => row.dataset.arm);
  await choose("linear", "step");
  saw.marks.push(charts());
  saw.linear = titles(slots[0]).filter((text) => text.endsWith("k"));
  await choose("log", "step");
  key("Escape");
  saw.marks.push(charts());

  saw.axes = {};
  for (const clock of ["train_seconds", "flops", "step"]) {
    await choose(clock, clock);
    saw.axes[clock] = slots.filter((slot) => "clocked" in slot.dataset).map(axisOf);
  }

  const plot = slots[0].querySelector("path.background").getBoundingClientRect();
  slots[0].setPointerCapture = () => {}; // there is no such pointer
  let isDone = drawnAnew(slots[0]);
  for (const [type, share] of [["pointerdown", 0.5], ["pointermove", 0.7], ["pointerup", 0.75]]) {
    point(type, plot.left + share * plot.width, plot.top + 50, slots[0]);
  }
  await isDone;
  const ticks = () => titles(slots[0]).filter((text) => /^\d+k?$/.test(text));
  saw.part = ticks();
  isDone = drawnAnew(slots[0]);
  press(".reset");
  await isDone;
  saw.whole = ticks();

  // The same by the wheel, which moves the page unless Ctrl is held, and by keys on the chart that has the focus.
  const meet = async (node, event) => {
    const isDone = drawnAnew(slots[0]);
    node.dispatchEvent(event);
    if (event.defaultPrevented) await isDone;
    return [event.defaultPrevented, ticks()];
  };
  const turn = (ctrlKey, deltaY, share) => {
    const clientX = plot.left + share * plot.width;
    const how = { ctrlKey, deltaY, clientX, clientY: plot.top + 50, cancelable: true };
    return meet(slots[0], new WheelEvent("wheel", how));
  };
  saw.wheel = [await turn(false, -100, 1), await turn(true, -100, 1), await turn(true, 100, 0)];
  const strike = (name, more) => {
    const how = { key: name, bubbles: true, cancelable: true, ...more };
    return meet(document.activeElement, new KeyboardEvent("keydown", how));
  };
  slots[0].focus();
  saw.keys = {};
  for (const name of ["+", "ArrowRight", "ArrowLeft", "0", "x"]) saw.keys[name] = await strike(name);
  saw.keys.ofBrowser = await strike("+", { ctrlKey: true });
  saw.spoken = slots.map((slot) => `${slot.getAttribute("role")}: ${slot.getAttribute("aria-label")}`);

  const [table] = document.querySelectorAll("table");
  const names = () => [...table.tBodies[0].rows].map((row) => row.dataset.arm);
  const [, , sorter] = table.querySelectorAll("th button");
  sorter.click();
  saw.sorted = [names(), sorter.parentNode.getAttribute("aria-sort")];
  sorter.click();
  saw.sorted.push(names(), sorter.parentNode.getAttribute("aria-sort"));
  URL.createObjectURL = (blob) => ((saw.blob = blob), "data:text/csv,");
  HTMLAnchorElement.prototype.click = function () {
    saw.file = this.download;
  };
  all(".tools button").find((one) => one.textContent === "CSV").click();
  saw.csv = await saw.blob.text();
  const paper = getComputedStyle(document.documentElement);
  saw.colors = [paper.backgroundColor, paper.color, getComputedStyle(slots[0].querySelector("svg text")).fill];
  document.title = JSON.stringify(saw);
})();
