// The list of earlier calls.

import { button, el } from "../common/elements.js";
import { clearCalls, readCalls } from "./history.js";

/**
 * Show the calls in `container`, instead of what was there.
 * @param {HTMLElement} container
 * @param {(call: object) => void} onopen is called with the call that somebody wants to see again.
 */
export async function showHistory(container, onopen) {
  const calls = await readCalls();
  for (const image of container.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  if (!calls.length) return container.replaceChildren(el("p", { className: "hint" }, "There is nothing yet."));
  const clear = button("Clear history", async () => {
    await clearCalls();
    await showHistory(container, onopen);
    document.getElementById("history-title").focus(); // the button is gone
  }, { className: "quiet" });
  return container.replaceChildren(el("ul", { className: "calls", role: "list" }, ...calls.map((call) => entryOf(call, onopen))), clear);
}

function entryOf(call, onopen) {
  const time = new Date(call.time);
  return el(
    "li",
    {},
    el("div", { className: "thumbnails" }, ...call.images.map((image) => el("img", { src: URL.createObjectURL(image), alt: call.fields.prompt, loading: "lazy", decoding: "async" }))),
    el("p", { className: "prompt" }, call.fields.prompt),
    el("p", { className: "hint" }, el("time", { dateTime: time.toISOString() }, time.toLocaleString()), call.cost && ` · ${call.cost}`),
    button("Show again", () => onopen(call), { className: "quiet" }),
  );
}
