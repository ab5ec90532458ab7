// How curves are drawn, as a form and the address say: along what, how smooth, on which axes. Knows no curve.

import { byId } from "./dom.js";
import { X_AXES } from "./loss_axes.js";

const SMOOTHING = 0.6;

export class ChartView {
  /** `onChange(name)` after a control was moved. What else the address says is left in it. */
  constructor(onChange) {
    this.form = byId("view");
    const asked = new URLSearchParams(location.search);
    const { x, smooth, logx, logy } = this.form.elements;
    if (asked.get("x") in X_AXES) x.value = asked.get("x");
    smooth.value = asked.get("smooth") ?? SMOOTHING;
    logx.checked = asked.has("logx");
    logy.checked = asked.has("logy");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) => {
      this.keep();
      onChange(event.target.name);
    });
    this.read();
  }

  read() {
    const { x, smooth, logx, logy } = this.form.elements;
    Object.assign(this, { x: x.value, smooth: Number(smooth.value), logx: logx.checked, logy: logy.checked });
    byId("smooth-value").textContent = this.smooth.toFixed(2);
  }

  keep() {
    this.read();
    const address = new URL(location.href);
    const told = { x: this.x === "step" ? "" : this.x, smooth: this.smooth === SMOOTHING ? "" : this.smooth };
    for (const [name, value] of Object.entries({ ...told, logx: this.logx ? 1 : "", logy: this.logy ? 1 : "" })) {
      if (value === "") address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    }
    history.replaceState(null, "", address);
  }

  /** Wall time and passes are not known of every run. */
  offer(histories) {
    const drawn = histories.filter((rows) => !rows.isEmpty);
    for (const option of this.form.elements.x.options) option.disabled = !drawn.every((rows) => rows.has(option.value));
  }

  xAxis() {
    return { ...X_AXES[this.x], isLog: this.logx };
  }
}
