"use strict";
(() => {
  const collator = new Intl.Collator("en", { numeric: true });

  const textOf = (cell) => (cell ? cell.dataset.value ?? cell.textContent.trim() : "");

  const numberOf = (text) => (text === "inf" ? Infinity : Number(text));

  // Numbers by size, text by letters, empty cells last in both directions.
  function sorted(rows, column, descending) {
    const keyed = rows.map((row) => ({ row, text: textOf(row.cells[column]) }));
    const filled = keyed.filter((entry) => entry.text !== "");
    const empty = keyed.filter((entry) => entry.text === "");
    const numeric = filled.every((entry) => !Number.isNaN(numberOf(entry.text)));
    const order = numeric
      ? (a, b) => numberOf(a.text) - numberOf(b.text) || 0
      : (a, b) => collator.compare(a.text, b.text);
    filled.sort((a, b) => (descending ? order(b, a) : order(a, b)));
    return [...filled, ...empty].map((entry) => entry.row);
  }

  function sortBy(table, head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    body.append(...sorted([...body.rows], head.cellIndex, descending));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      // Not a button: Chromium leaves those out of heads that it repeats on paper.
      const button = document.createElement("span");
      button.setAttribute("role", "button");
      button.tabIndex = 0;
      button.append(...head.childNodes);
      button.addEventListener("click", () => sortBy(table, head));
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sortBy(table, head);
      });
      head.append(button);
    }
  }

  const input = document.getElementById("filter");
  if (input) {
    const rows = [...document.querySelectorAll("#cases tbody tr")].map((row) => ({
      row,
      name: row.cells[0].textContent.toLowerCase(),
    }));
    const tables = document.querySelectorAll("#cases tbody").length;
    const output = input.parentNode.querySelector("output");
    const show = () => {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      for (const { row, name } of rows) {
        row.hidden = !name.includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      output.textContent = wanted ? ` ${shown / tables} of ${rows.length / tables} shown` : "";
    };
    input.addEventListener("input", show);
    input.parentNode.hidden = false;
  }
})();
