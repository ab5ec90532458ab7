// Wakes a page that the server rendered: the list, and the panel of the job in the address. Knows who lives where.

import { CompletionForm } from "./completion.js";
import { JobPanel } from "./job.js";
import { JobList } from "./list.js";

const selected = document.getElementById("job");
const list = new JobList(selected?.dataset.job);
list.wait();
if (selected) {
  new CompletionForm(document.getElementById("try"));
  await new JobPanel(selected.dataset.job, () => list.refresh()).start();
}
