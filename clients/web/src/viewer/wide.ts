/** Whether there is room for panels beside the stage. */

import { signal } from "@preact/signals";

const query = matchMedia("(min-width: 60rem)");

export const wide = signal(query.matches);
query.addEventListener("change", () => { wide.value = query.matches; });
