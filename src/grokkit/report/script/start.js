listenToArms();
listenToPointer();
listenToZoom();
listenToTables();
for (const radio of document.querySelectorAll("input[name=clock]")) {
  radio.addEventListener("change", () => {
    const clocked = slots.filter((slot) => slot.dataset.clocked !== undefined);
    for (const slot of clocked) choosePart(slot, null); // its ends were steps, or seconds
    drawAll(clocked);
  });
}
for (const radio of document.querySelectorAll("input[name=scale]")) {
  radio.addEventListener("change", () => drawAll(slots.filter((slot) => isLong(charts[nameOf(slot)].spec))));
}
drawAll(slots);
