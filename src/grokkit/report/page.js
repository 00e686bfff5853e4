"use strict";
// Draws the charts of the page. Everything it needs is in the page: specifications and data lie in the JSON
// element "charts"; a data set that several charts share is stored once.
(() => {
  const { charts, datasets, config } = JSON.parse(document.getElementById("charts").textContent);
  const views = new Map();

  async function draw(slot, name) {
    const { spec, uses } = charts[name];
    const own = Object.fromEntries(uses.map((key) => [key, datasets[key]]));
    try {
      const result = await vegaEmbed(slot, { ...spec, datasets: own }, { renderer: "svg", actions: false, config });
      views.get(slot)?.finalize();
      views.set(slot, result);
    } catch (error) {
      // A chart from outside may be one that Vega refuses. The others are drawn all the same.
      slot.textContent = `not drawn: ${error.message}`;
    }
  }

  const slots = [...document.querySelectorAll("[data-chart]")];
  const clock = () => document.querySelector("input[name=clock]:checked")?.value ?? "step";
  const nameOf = (slot) => (slot.dataset.clocked === undefined ? "" : clock() + ":") + slot.dataset.chart;

  async function drawAll(chosen) {
    await Promise.all(chosen.map((slot) => draw(slot, nameOf(slot))));
    document.documentElement.dataset.drawn = clock();
  }

  for (const radio of document.querySelectorAll("input[name=clock]")) {
    radio.addEventListener("change", () => drawAll(slots.filter((slot) => slot.dataset.clocked !== undefined)));
  }
  drawAll(slots);
})();
