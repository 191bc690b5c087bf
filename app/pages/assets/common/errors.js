// Errors as a person reads them: what happened, whether it cost anything, and what to do.

import { copyButton, el } from "./elements.js";

const BY_OPERATOR = "The operator of this gateway has to look at it.";
const NO_ACCOUNT = "The gateway's account at MiniMax is used up. Its operator has to add to it.";

// What to do, by the error's code, else by its status. Codes and statuses are those of docs/api.md.
const ADVICE = {
  no_key: "Enter one above.",
  unreadable_file: "Choose the file again.",
  invalid_api_key: "Check the API key above.",
  insufficient_balance: "Ask the operator of this gateway to add to the balance of your key.",
  network: "Check your connection, and try again. If the call has begun, it is not made a second time.",
  interrupted: "Try again. If the call has begun, it is not made a second time.",
  model_not_authorized: "Choose another model, or ask the operator of this gateway for this one.",
  1008: NO_ACCOUNT,
  1028: NO_ACCOUNT,
  1030: NO_ACCOUNT,
  2056: NO_ACCOUNT,
  upstream_payment_required: NO_ACCOUNT,
  1004: BY_OPERATOR,
  2049: BY_OPERATOR,
  upstream_unauthorized: BY_OPERATOR,
  1026: "MiniMax found the prompt, or what it would draw, sensitive. Change the prompt.",
  1027: "MiniMax found the image sensitive. Change the prompt.",
  content_withheld: "MiniMax withheld every image as sensitive. Change the prompt.",
  400: "Change the request: trying the same again gives the same error.",
  403: "Trying the same again gives the same error.",
  429: "Trying the same again gives the same error.",
  502: "It may have been drawn all the same. Trying again is a new call, with its own cost.",
  503: "Trying again may help. It is a new call, with its own cost.",
};
const COSTLESS = [400, 401, 403, 404, 405, 413, 415, 422, 429];

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

function adviceOn(error) {
  if (error.taskId) return adviceOnTask(error);
  if (ADVICE[error.code]) return ADVICE[error.code];
  if (error.shouldRetry) return error.retryAfter ? `Try again in ${error.retryAfter} s.` : "Try again.";
  return ADVICE[error.status] ?? BY_OPERATOR;
}

/** The task goes on whatever becomes of this page, and of the key that began it. */
function adviceOnTask({ code, taskId }) {
  if (code === "answer_expired") return "Drawing it again is a new call, with its own cost.";
  return `Its images can be fetched with the API key that began it: GET /v1/images/tasks/${taskId}.`;
}

function costOf(error) {
  if (error.taskId) return "The call was begun: it goes on, and may be charged.";
  return ["no_key", "unreadable_file"].includes(error.code) || error.shouldRetry || COSTLESS.includes(error.status) ? "It cost nothing." : "";
}
