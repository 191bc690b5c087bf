// One call as a task of the gateway: it goes on if the connection is cut, and its answer is fetched until it is there.

import { ApiError, getJson, postJson, request } from "../common/api.js";

const TASKS = "/v1/images/tasks";
const WAIT_SECONDS = 20; // the gateway holds a response as long, or until the task has ended
const PAUSE_MS = 500; // between two looks while the task is queued: the gateway does not wait for its turn
const RETRY_MS = 2000; // after a failure of the network
const BEGIN_PAUSES_MS = [500, 1500]; // before the same request is sent again
const UNKNOWN = ["network", "interrupted"]; // the codes of failures after which the gateway may have the request

// Codes of failed tasks that cost nothing and may go well another time: those with x-should-retry in docs/api.md.
const RETRIED = new Set([
  ...["1002", "1039", "1041", "2045", "1033", "upstream_unreachable", "upstream_too_many_requests", "upstream_busy"],
  ...["shutting_down", "not_started", "gateway_full", "storage_full", "storage_unavailable", "image_store_unavailable"],
]);

export class Task {
  /** @param {string} requestId of the call in usage and in logs, unless a proxy gives each attempt an id of its own. */
  constructor(id, requestId) {
    this.id = id;
    this.requestId = requestId;
  }

  /**
   * Begin a call of the endpoint "edits" or "generations". The idempotency key makes it safe to send the request a second time.
   * @returns {Promise<Task>}
   * @throws {ApiError}
   */
  static async begin(endpoint, fields, idempotencyKey, signal) {
    const path = `/v1/images/${endpoint}/async`;
    // The attempts share a request id: the usage of the call is found even if the response that named it was lost.
    const headers = { "Idempotency-Key": idempotencyKey, "X-Request-Id": idempotencyKey };
    const begun = await repeat(() => postJson(path, fields, { headers, signal }), signal);
    return new Task(begun.json.id, begun.headers.get("x-request-id"));
  }

  /**
   * Wait for the answer.
   * @param {(status: "queued"|"in_progress"|"unreachable") => void} onstatus is called with each status that is seen.
   * @returns {Promise<{data: {b64_json: string}[], metadata?: object}>} the usual response.
   * @throws {ApiError} the error of the call; with a `taskId` if only its answer cannot be fetched.
   */
  async result(onstatus) {
    for (let wait = 0; ; ) {
      const task = await this.#look(wait);
      wait = task?.status === "in_progress" ? WAIT_SECONDS : 0;
      if (task?.status === "completed") return task.result;
      if (task?.status === "failed") throw this.#error(task.error);
      onstatus(task?.status ?? "unreachable");
      if (!wait) await pause(task ? PAUSE_MS : RETRY_MS);
    }
  }

  /** Take the call back. @returns {Promise<boolean>} whether it was: one that is being drawn cannot be. */
  async withdraw() {
    return request(`${TASKS}/${this.id}`, { method: "DELETE" }).then(() => true, () => false);
  }

  /** The task as it is now, or null if the gateway cannot be reached, or is busy. */
  async #look(wait) {
    try {
      const { json } = await getJson(`${TASKS}/${this.id}?wait=${wait}`);
      return json;
    } catch (error) {
      if (UNKNOWN.includes(error.code) || error.shouldRetry) return null;
      throw Object.assign(error, { taskId: this.id });
    }
  }

  #error({ http_status: status, ...error }) {
    return new ApiError({ ...error, status, requestId: this.requestId, shouldRetry: RETRIED.has(error.code) });
  }
}

/** Send a request again after failures of the network, until `signal` is aborted. The last failure is thrown. */
async function repeat(send, signal) {
  for (const milliseconds of BEGIN_PAUSES_MS) {
    try {
      return await send();
    } catch (error) {
      if (!UNKNOWN.includes(error.code)) throw error;
    }
    await pause(milliseconds, signal);
  }
  return send();
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}
