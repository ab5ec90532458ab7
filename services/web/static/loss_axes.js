// How the axes of a run's charts are named and written. Knows no chart.

import { count, span } from "./text.js";

export const X_AXES = {
  step: { label: "Step", format: (value) => (Number.isInteger(value) ? count(value) : "") },
  characters: { label: "Characters", format: (value) => (value >= 1e6 ? `${Number((value / 1e6).toPrecision(4))} M` : count(value)) },
  passes: { label: "Passes", format: (value) => String(Number(value.toPrecision(4))) },
  wall: { label: "Time", format: (value) => span(value) },
};
