// Table rows that end with a bar, so that a figure is its own table. Knows no chapter.

import { picture, svg } from "./svg.js";

/** Cells, then a bar (null: none) from 0 to 1, or from -1 to 1 where it `isSigned`. */
export function row(cells, value, isStrong, isSigned = false) {
  const element = document.createElement("tr");
  if (isStrong) element.className = "strong";
  cells.forEach((content, at) => {
    const cell = at ? element.insertCell() : element.appendChild(document.createElement("th"));
    if (at) cell.className = "number";
    else cell.scope = "row";
    cell.textContent = typeof content === "number" ? content.toFixed(2).replace("-", "−") : content;
  });
  if (value === null) return element;
  const last = element.insertCell();
  last.className = "bar-cell";
  last.append(bar(value, isSigned));
  return element;
}

const BAR = { width: 56, height: 10 };

function bar(value, isSigned) {
  const zero = isSigned ? BAR.width / 2 : 0;
  const length = value * (isSigned ? BAR.width / 2 : BAR.width);
  const drawn = picture(
    BAR.width,
    BAR.height,
    svg("rect", { class: "bar-ground", width: BAR.width, height: BAR.height, rx: 2 }),
    svg("rect", { class: "bar-value", x: Math.min(zero, zero + length), width: Math.abs(length), height: BAR.height, rx: 2 }),
  );
  drawn.setAttribute("preserveAspectRatio", "none"); // where the style makes it wider
  return drawn;
}
