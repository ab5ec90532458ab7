// Brings the chapters of the lecture to life, each by a module of its own. Knows no chapter's inside.

import { followReader } from "./contents.js";
import { Gates } from "./gates.js";
import { Hello } from "./hello.js";
import { Sampling } from "./sampling.js";
import { Shapes } from "./shapes.js";
import { Truncation } from "./truncation.js";
import { Vanishing } from "./vanishing.js";

followReader();
new Shapes();
new Truncation();
new Gates();
const sampling = new Sampling();

/** There is a model now to sample from and to look into. */
function onTrained(job) {
  document.getElementById("next-inside").href = `/jobs/${encodeURIComponent(job.id)}/inside`;
  return sampling.refresh();
}

await Promise.all([new Hello({ onTrained }).start(), new Vanishing().start(), sampling.refresh()]);
document.getElementById("lecture").dataset.isReady = "yes";
