// Filters of a sweep's trials: an interval for each axis, from a brush or from fields; the address keeps them.

import { short } from "./scales.js";

const BETWEEN = "..";

export class SweepFilters {
  /** Calls `onChange()` after each change. */
  constructor(form, about, onChange) {
    this.form = form;
    this.onChange = onChange;
    this.brushes = {};
    this.offered = "";
    const asked = new URLSearchParams(location.search);
    for (const name of [...about.axes.map((axis) => axis.name), about.metric]) {
      const ends = asked.get(name)?.split(BETWEEN);
      if (ends?.length === 2) this.brushes[name] = ends.map((end) => (end !== "" && Number.isFinite(Number(end)) ? Number(end) : end));
    }
    form.addEventListener("change", () => this.fromFields());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  get isActive() {
    return Object.keys(this.brushes).length > 0;
  }

  /** The interval of one axis; null: everything. */
  set(name, ends) {
    if (ends) this.brushes[name] = ends.map((end) => (typeof end === "number" ? Number(end.toPrecision(4)) : end));
    else delete this.brushes[name];
    this.keep();
  }

  keep() {
    const url = new URL(location);
    for (const { name } of this.axes) {
      if (this.brushes[name]) url.searchParams.set(name, this.brushes[name].join(BETWEEN));
      else url.searchParams.delete(name);
    }
    history.replaceState(null, "", url);
    this.write();
    this.onChange();
  }

  /** Whether all intervals hold a trial's values. */
  holds(row) {
    return this.axes.every((axis) => {
      const ends = this.brushes[axis.name];
      return !ends || isWithin(row.values[axis.name], ends, axis);
    });
  }

  /** One pair of fields an axis, made anew only where the axes are others. */
  offer(axes) {
    this.axes = axes;
    const names = axes.map((axis) => axis.name).join(" ");
    if (names === this.offered) return;
    this.offered = names;
    this.form.replaceChildren(...axes.map(fieldsOf), clearButton(() => this.clear()));
    this.write();
  }

  clear() {
    this.brushes = {};
    this.keep();
  }

  write() {
    for (const field of this.form.querySelectorAll("[data-axis]")) {
      const ends = this.brushes[field.dataset.axis];
      if (document.activeElement !== field) field.value = ends ? String(ends[Number(field.dataset.end)]) : "";
    }
  }

  fromFields() {
    for (const axis of this.axes) {
      const given = [...this.form.querySelectorAll("[data-axis]")].filter((field) => field.dataset.axis === axis.name);
      const [from, to] = given.map((field) => field.value.trim());
      const open = axis.choices ? [axis.choices[0], axis.choices.at(-1)] : [axis.low, axis.high];
      if (from === "" && to === "") delete this.brushes[axis.name];
      else this.brushes[axis.name] = [from, to].map((end, at) => (end === "" ? open[at] : axis.choices ? end : Number(end)));
    }
    this.keep();
  }
}

function isWithin(value, [from, to], axis) {
  if (value === undefined) return false;
  if (axis.choices) {
    const [first, last] = [axis.choices.indexOf(String(from)), axis.choices.indexOf(String(to))].sort((a, b) => a - b);
    const at = axis.choices.indexOf(value);
    return at >= first && at <= last;
  }
  return value >= Math.min(from, to) && value <= Math.max(from, to);
}

function fieldsOf(axis) {
  const group = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = axis.name;
  const fields = ["from", "to"].map((word, end) => {
    const field = axis.choices ? choice(axis.choices) : number(axis, end);
    field.dataset.axis = axis.name;
    field.dataset.end = end;
    field.setAttribute("aria-label", `${axis.name} ${word}`);
    return field;
  });
  group.append(legend, ...fields);
  return group;
}

function choice(choices) {
  const field = document.createElement("select");
  field.append(new Option("any", ""), ...choices.map((one) => new Option(one, one)));
  return field;
}

function number(axis, end) {
  const field = document.createElement("input");
  field.type = "number";
  field.step = "any";
  field.placeholder = short(end ? axis.high : axis.low);
  return field;
}

function clearButton(clear) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "All trials";
  button.addEventListener("click", clear);
  return button;
}
