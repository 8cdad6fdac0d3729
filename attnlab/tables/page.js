// A click on a heading sorts its table: numbers by the first one in a cell (12.3 k is 12300), texts by the alphabet.
// A second click turns the order round; cells without a value stay last.
const UNITS = { k: 1e3, M: 1e6, G: 1e9 };
function valueOf(cell) {
  const text = cell.textContent.trim().replaceAll("\u2212", "-").replaceAll(",", "").replaceAll("\u2007", "")
    .replaceAll("\u00a0", " ");
  const found = text.match(/^<?([+-]?\d+(?:\.\d+)?)(?: ([kMG])\b)?/);
  return found ? found[1] * (UNITS[found[2]] || 1) : text === "" || text === "\u2013" ? null : text;
}
function compare(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}
for (const heading of document.querySelectorAll(".gt_table th")) {
  heading.tabIndex = 0;
  heading.title = "sort";
  const sort = () => {
    const table = heading.closest("table"), column = heading.cellIndex;
    const turned = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", turned === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
    rows.sort(([a], [b]) => (a === null || b === null ? compare(a, b) : turned * compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  heading.addEventListener("click", sort);
  heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
}
