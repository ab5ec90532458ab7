// The configuration of a run does not change; its head does.

import "./copying.js";
import { run } from "./run.js";

await run.follow();
