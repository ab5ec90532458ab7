// What the pages of sweeps, data sets, models, queue and workers share: live parts and buttons.

import { listen } from "./actions.js";
import "./copying.js";
import { LivePart } from "./live_part.js";

listen();
for (const part of document.querySelectorAll("[data-live]")) {
  const isOver = () => document.getElementById(part.id)?.dataset.ended === "yes";
  new LivePart(part.dataset.live, isOver).follow();
}
