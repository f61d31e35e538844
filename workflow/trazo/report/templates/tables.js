// Tables: a click on a column's name sorts its rows, words typed above leave only rows that have them.
// Without this script the tables stand as they are.
(() => {
  "use strict";
  const LONG = 8;
  const bodyRows = table => [...table.tBodies[0].rows];
  // What a cell is sorted by: the number that the page says, or else its words.
  const valueOf = cell => cell?.dataset.value ?? cell?.textContent.trim() ?? "";

  // The column that a header's cell stands over, with cells that span others counted in.
  function places(table) {
    const found = new Map(), taken = [];
    [...table.tHead.rows].forEach((row, down) => {
      let across = 0;
      for (const cell of row.cells) {
        while (taken[down]?.[across]) across += 1;
        for (let i = 0; i < cell.rowSpan; i++) for (let j = 0; j < cell.colSpan; j++) (taken[down + i] ??= [])[across + j] = true;
        if (cell.colSpan === 1 && down + cell.rowSpan === table.tHead.rows.length) found.set(cell, across);
        across += cell.colSpan;
      }
    });
    return found;
  }

  // Rows may hold cells that span several columns ("why nothing was measured"): those count for all of them.
  function cellAt(row, column) {
    let across = 0;
    for (const cell of row.cells) {
      if (column < across + cell.colSpan) return cell;
      across += cell.colSpan;
    }
    return null;
  }

  function compare(a, b) {
    const [x, y] = [a, b].map(text => text === "" || text === "\u2013" ? NaN : Number(text));
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return a.localeCompare(b, undefined, { numeric: true });
  }

  function sort(table, heads, head) {
    const column = heads.get(head), was = head.getAttribute("aria-sort");
    const turn = was === "descending" ? "ascending" : was === "ascending" ? "none" : head.dataset.first;
    for (const other of heads.keys()) other.removeAttribute("aria-sort");
    if (turn !== "none") head.setAttribute("aria-sort", turn);
    const rows = bodyRows(table), sign = turn === "descending" ? -1 : 1;
    const empty = text => text === "" || text === "\u2013";
    rows.sort((a, b) => {
      // Totals stay below, and what has no value comes last whichever way is up.
      const total = a.classList.contains("total") - b.classList.contains("total");
      if (total) return total;
      if (turn === "none") return a.dataset.place - b.dataset.place;
      const [x, y] = [valueOf(cellAt(a, column)), valueOf(cellAt(b, column))];
      if (empty(x) || empty(y)) return empty(x) - empty(y) || a.dataset.place - b.dataset.place;
      return sign * compare(x, y) || a.dataset.place - b.dataset.place;
    });
    table.tBodies[0].append(...rows);
  }

  function sortable(table) {
    const heads = places(table), rows = bodyRows(table);
    if (rows.length < 2) return;
    rows.forEach((row, place) => { row.dataset.place = place; });
    for (const [head, column] of heads) {
      const numbers = rows.map(row => valueOf(cellAt(row, column))).filter(text => text !== "" && text !== "\u2013");
      head.dataset.first = numbers.length && numbers.every(text => !Number.isNaN(Number(text))) ? "descending" : "ascending";
      const button = element("button", { type: "button", className: "sort" });
      button.append(...head.childNodes);
      button.onclick = () => sort(table, heads, head);
      head.append(button);
    }
  }

  function filtered(table) {
    const rows = bodyRows(table), name = table.caption?.textContent.trim() ?? "the table";
    if (rows.length < LONG) return;
    const input = element("input", { type: "search", placeholder: "Filter rows", "aria-label": `Filter rows of: ${name}` });
    const count = element("span", { className: "soft", role: "status" });
    const states = [...new Set(rows.map(row => row.dataset.state).filter(Boolean))];
    const names = { inside: "inside the interval", above: "ours above", below: "ours below", unjudged: "without an interval", unmeasured: "not measured" };
    const choice = states.length > 1 ? element("select", { "aria-label": "Which values" }, element("option", { value: "", textContent: "all values" }),
      ...Object.keys(names).filter(state => states.includes(state)).map(state => element("option", { value: state, textContent: names[state] }))) : null;
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every(word => text.includes(word)) || Boolean(choice?.value && row.dataset.state !== choice.value);
        shown += !row.hidden;
      }
      count.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
    };
    input.oninput = apply;
    if (choice) choice.onchange = apply;
    const place = table.closest(".scroll") ?? table;
    place.before(element("p", { className: "filter" }, input, ...(choice ? [choice] : []), count));
  }

  for (const table of document.querySelectorAll("table.grid, table.plain, table.sizes")) {
    sortable(table);
    filtered(table);
  }
  // Who asks for what differs from the published set-up sees all of it.
  for (const link of document.querySelectorAll('a[href="#notice"]')) {
    link.addEventListener("click", () => { document.getElementById("notice").closest("details").open = true; });
  }
  // What is folded on the screen is printed all the same, as far as it says so.
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details[data-print]")) part.open = true;
    unfoldAll();
  });
})();
