// Errors as a person reads them: what happened, whether it cost anything, and what to do.

import { adviceOn, costOf } from "./advice.js";
import { copyButton, el } from "./elements.js";

/**
 * Show `error` in `container`, instead of what was there, and scroll to it without moving the focus.
 * @param {HTMLElement} container
 * @param {import("./api.js").ApiError} error
 * @param {string} [cost] what is known of it, as a sentence.
 */
export function showError(container, error, cost = costOf(error)) {
  const details = [`code: ${error.code}`];
  if (error.requestId) details.push(`request id: ${error.requestId}`);
  if (error.taskId) details.push(`task: ${error.taskId}`);
  container.replaceChildren(
    el(
      "div",
      { role: "alert", className: "error" },
      el("p", {}, el("strong", {}, error.message)),
      el("p", {}, [cost, adviceOn(error)].filter(Boolean).join(" ")),
      el("p", { className: "details" }, el("code", {}, details.join(" · ")), " ", copyButton("Copy details", () => details.join("\n"))),
    ),
  );
  // At once, which is also right where less motion is wanted. Screen readers announce the alert.
  container.scrollIntoView({ block: "nearest" });
}
