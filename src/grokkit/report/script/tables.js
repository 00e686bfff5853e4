// Tables: a click on a head sorts by it; columns that have no room stay away until they are asked for, the last ones
// first; a file with all of them can be saved.
const FEWEST = 2; // columns that are always there

const textOf = (node) => (node.nodeName === "BR" ? " " : (node.data ?? textIn(node.childNodes)));
const textIn = (nodes) => [...nodes].map(textOf).join("").replaceAll("\u00a0", " ");
const isSmall = (node) => node.nodeName === "SMALL";
const valueOf = (cell) => textIn([...cell.childNodes].filter((node) => !isSmall(node))).trim();
const noteOf = (cell) => [...cell.querySelectorAll(":scope > small")].map(textOf).join("; ");

// The number that a cell begins with, such as 0.32 of "≥ 0.32×"; NaN if it says something else.
function numberOf(cell) {
  const found = /^[<>≥≤*\s]*([-−]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?)/i.exec(valueOf(cell));
  return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) : NaN;
}

// Cells without a number come last, whichever way the others stand.
function sort(table, place, downwards) {
  const rows = [...table.tBodies[0].rows].map((row) => {
    return { row, cell: row.cells[place], number: numberOf(row.cells[place]) };
  });
  const isNumber = ({ cell, number }) => !Number.isNaN(number) || cell.matches(".absent");
  const compare = rows.every(isNumber)
    ? (a, b) => a.number - b.number
    : (a, b) => valueOf(a.cell).localeCompare(valueOf(b.cell), "en", { numeric: true });
  const missing = ({ cell }) => Number(cell.matches(".absent"));
  rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : compare(a, b) * (downwards ? -1 : 1)));
  table.tBodies[0].append(...rows.map(({ row }) => row));
  for (const [i, head] of [...table.tHead.rows[0].cells].entries()) {
    if (i === place) head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

// Small print has columns of its own. A spreadsheet would take a text that begins like a formula for one.
function csv(table) {
  const rows = [...table.rows].map((row) => [...row.cells]);
  const noted = rows[0].map((_, place) => rows.some((cells) => noteOf(cells[place])));
  const quoted = (text) => {
    const plain = /^-?[\d,]+(\.\d+)?$/.test(text) ? text.replaceAll(",", "") : text.replace(/^[=+@\t\r-]/, "'$&");
    return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  const lines = rows.map((cells, line) => {
    const texts = cells.flatMap((cell, place) => {
      const note = line ? noteOf(cell) : `${valueOf(cell)}, note`;
      return noted[place] ? [valueOf(cell), note] : [valueOf(cell)];
    });
    return texts.map(quoted).join(",");
  });
  return `${lines.join("\r\n")}\r\n`;
}

function save(table) {
  const url = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: `${table.caption.textContent.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function show(table, count) {
  for (const row of table.rows) {
    for (const [place, cell] of [...row.cells].entries()) cell.hidden = place >= count;
  }
}

function fit(box, more) {
  const table = box.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  show(table, heads.length);
  let [count, room] = [0, box.clientWidth + 1];
  for (const head of heads) {
    room -= head.offsetWidth;
    if (room < 0 && count >= FEWEST) break;
    count += 1;
  }
  const isWhole = more.getAttribute("aria-expanded") === "true";
  if (!isWhole) show(table, count);
  more.hidden = count === heads.length;
  const left = heads.length - count;
  more.textContent = isWhole ? "fewer columns" : `${left} more column${left === 1 ? "" : "s"}`;
}

function buttonThat(text, does) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.addEventListener("click", does);
  return made;
}

function listenToTables() {
  for (const box of document.querySelectorAll(".scroll:has(> table)")) {
    const table = box.querySelector("table");
    for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
      const sorter = buttonThat("", () => sort(table, place, head.getAttribute("aria-sort") === "ascending"));
      sorter.append(...head.childNodes);
      head.append(sorter);
    }
    const more = buttonThat("", () => {
      more.setAttribute("aria-expanded", String(more.getAttribute("aria-expanded") !== "true"));
      fit(box, more);
    });
    more.setAttribute("aria-expanded", "false");
    const tools = Object.assign(document.createElement("div"), { className: "tools" });
    tools.append(more, buttonThat("CSV", () => save(table)));
    box.before(tools);
    fit(box, more);
    addEventListener("resize", () => fit(box, more));
  }
}
