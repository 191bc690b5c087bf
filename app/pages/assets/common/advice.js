// What an error has cost, and whether trying again helps. Codes and statuses are those of docs/api.md.

const SAME = "Trying the same again gives the same error.";
const LATER = "Try again in a minute. If it goes on, tell the operator of this gateway.";
const NEW_CALL = "Trying again is a new call, with its own cost.";
const NO_ACCOUNT = "The gateway's account at MiniMax is used up. Trying again does not help until its operator has added to it.";
const NO_ACCESS = "Trying again does not help: the operator of this gateway has to correct its access to MiniMax.";
const NO_MODEL = "The gateway's account at MiniMax may not use this. Trying again does not help: ask its operator, or choose another model.";

// Codes of calls that MiniMax may have drawn without an answer that arrived. Other errors cost nothing.
const MAY_COST = new Set([
  ...["upstream_interrupted", "upstream_deadline", "upstream_invalid_answer", "upstream_server_error", "answer_not_stored"],
  ...["outcome_unknown", "internal_error", "gateway_interrupted", "gateway_timeout", "nginx_refused"],
]);

// By the code, else by the status.
const ADVICE = {
  no_key: "Enter one above.",
  unreadable_file: "Choose the file again.",
  invalid_value: `Change the request. ${SAME}`,
  invalid_api_key: "Check the API key above, and try again.",
  insufficient_balance: "Ask the operator of this gateway to add to the balance of your key. Trying again does not help before.",
  network: "Check your connection, and try again. If the call has begun, it is not made a second time.",
  interrupted: "Try again. If the call has begun, it is not made a second time.",
  model_not_authorized: `Choose another model, or ask the operator of this gateway for this one. ${SAME}`,
  rate_limit_exceeded: `Draw fewer images at once. ${SAME}`,
  1008: NO_ACCOUNT,
  1028: NO_ACCOUNT,
  1030: NO_ACCOUNT,
  2056: "The gateway's plan at MiniMax is used up for the next hours. Try again later.",
  upstream_payment_required: NO_ACCOUNT,
  1004: NO_ACCESS,
  2049: NO_ACCESS,
  upstream_unauthorized: NO_ACCESS,
  upstream_not_found: NO_ACCESS,
  2061: NO_MODEL,
  2038: NO_MODEL,
  2042: NO_MODEL,
  upstream_forbidden: NO_MODEL,
  1026: `MiniMax found the prompt, or what it would draw, sensitive. Change the prompt. ${SAME}`,
  1027: `MiniMax found the image sensitive. Change the prompt. ${SAME}`,
  content_withheld: `MiniMax withheld every image as sensitive. Change the prompt. ${SAME}`,
  upstream_rate_limited: LATER,
  400: `Change the request. ${SAME}`,
  413: `Choose a smaller image. ${SAME}`,
};

/** @returns {string} what to do after `error`, an `ApiError`. */
export function adviceOn(error) {
  if (error.taskId) return adviceOnTask(error);
  if (error.shouldRetry) return `Try again in ${error.retryAfter ? `${error.retryAfter} s` : "a minute"}.`;
  if (ADVICE[error.code]) return ADVICE[error.code];
  if (mayCost(error)) return NEW_CALL;
  return ADVICE[error.status] ?? (error.status < 500 ? SAME : LATER);
}

/** @returns {string} as a sentence. Empty if it is not known yet: a repeated call then finds the first one. */
export function costOf(error) {
  if (error.taskId) return "The call was begun: it goes on, and may be charged.";
  if (["network", "interrupted"].includes(error.code)) return "";
  return mayCost(error) ? "It may have been drawn, and charged." : "It cost nothing.";
}

/** nginx has one code for all that it rejects, before the call or after it. */
function mayCost({ code, status }) {
  return MAY_COST.has(code) && status >= 500;
}

/** The task goes on whatever becomes of this page, and of the key that began it. */
function adviceOnTask({ code, taskId }) {
  if (code === "answer_expired") return NEW_CALL;
  return `Its images can be fetched with the API key that began it: GET /v1/images/tasks/${taskId}.`;
}
