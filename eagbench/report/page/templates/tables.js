// Sort and search tables, reach what scrolls sideways by keyboard, and print what is folded away.
document.addEventListener("DOMContentLoaded", () => {
  const LONG = 10, text = new Intl.Collator("en", { numeric: true });
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

  function sortable(table) {
    const body = table.tBodies[0], original = [...body.rows], headings = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].dataset.value;
    const isEmpty = (row, column) => value(row, column) === undefined;
    function sort(column, direction) {
      const sign = direction === "descending" ? -1 : 1;
      const isNumeric = original.some((row) => !isEmpty(row, column));
      const order = isNumeric
        ? (a, b) => isEmpty(a, column) - isEmpty(b, column) || sign * (value(a, column) - value(b, column)) || 0
        : (a, b) => sign * text.compare(a.cells[column].textContent, b.cells[column].textContent);
      // References stay below the methods.
      const isReference = (row) => row.classList.contains("reference");
      const sorted = direction === "none" ? original
        : [...original].sort((a, b) => isReference(a) - isReference(b) || order(a, b));
      body.append(...sorted);
      headings.forEach((heading, i) => heading.setAttribute("aria-sort", i === column ? direction : "none"));
    }
    headings.forEach((heading, column) => {
      const button = make("button", { type: "button", title: "Sort by this column" });
      button.append(...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      button.addEventListener("click", () => sort(column, next[heading.getAttribute("aria-sort")]));
    });
  }

  function searchable(figure, table) {
    const label = make("label", { textContent: "Filter rows " }), rows = [...table.tBodies[0].rows];
    const field = make("input", { type: "search" }), count = make("span");
    count.setAttribute("role", "status");
    const words = rows.map((row) => row.textContent.toLowerCase());
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase().split(/\s+/);
      rows.forEach((row, i) => { row.hidden = !wanted.every((word) => words[i].includes(word)); });
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = field.value.trim() ? `${shown} of ${rows.length} rows` : "";
    });
    label.append(field);
    const find = make("div", { className: "find" });
    find.append(label, count);
    figure.querySelector(".scroll").before(find);
  }

  for (const figure of document.querySelectorAll("figure.table")) {
    const table = figure.querySelector("table"), rows = table.tBodies[0].rows.length;
    if (rows > 1) sortable(table);
    if (rows >= LONG) searchable(figure, table);
  }

  function reachable() {
    for (const box of document.querySelectorAll(".scroll, pre"))
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute("tabindex");
  }
  reachable();
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);

  const folded = [...document.querySelectorAll("details")];
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folded.filter((details) => !details.open);
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
});
