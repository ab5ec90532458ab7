// Where a run is and what it has left behind: the server writes it anew at each change of state and each checkpoint.

import { run } from "./run.js";

const AT_MOST_EVERY_MILLISECONDS = 2000;
let timer = 0;

function refresh() {
  timer ||= setTimeout(() => {
    timer = 0;
    run.showPart("system");
  }, AT_MOST_EVERY_MILLISECONDS);
}

for (const type of ["state", "checkpoint"]) run.on(type, refresh);
await run.follow();
