// The table behind a chart. Knows no chart.

/** Fills a `<details>` once it is open: `read()` gives the `heads` of columns and `rows` of words, each row's own head first. */
export function tabulate(details, read) {
  const fill = () => {
    details.querySelector(".scroll")?.remove();
    if (details.open) details.append(made(read()));
  };
  details.ontoggle = fill;
  fill();
}

function made({ heads, rows }) {
  const table = document.createElement("table");
  table.className = "numbers";
  table.createTHead().insertRow().append(...heads.map((words, i) => cell("th", words, i, "col")));
  const body = table.createTBody();
  for (const row of rows) body.insertRow().append(...row.map((words, i) => cell(i ? "td" : "th", words, i, "row")));
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0; // a keyboard scrolls it
  scroll.append(table);
  return scroll;
}

function cell(name, words, column, scope) {
  const made = document.createElement(name);
  if (name === "th") made.scope = scope;
  if (column) made.className = "number";
  made.textContent = words;
  return made;
}
