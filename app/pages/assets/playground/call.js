// One call of the form, from its beginning to its images or its error.

import { describeCost, readCost } from "./cost.js";
import { sortAnswer } from "./answer.js";
import { endpointOf } from "./endpoint.js";
import { Task } from "./task.js";

export class Call {
  /**
   * @param {object} fields of the API, with a seed and a response format.
   * @param {File|string|null} reference a file or a URL.
   * @param {?string} image the reference as a field of the API, a data URL or the URL.
   * @param {string} currency
   */
  constructor(fields, reference, image, currency) {
    this.fields = fields;
    this.reference = reference;
    this.currency = currency;
    this.time = Date.now();
    this.sent = { ...fields, ...(image ? { image } : {}) };
    this.idempotencyKey = randomKey();
    this.sending = null;
    this.task = null;
    this.images = [];
    this.urls = [];
    this.withheld = 0;
    this.cost = "";
  }

  /**
   * Make the call, and wait for its images. A second `run` of a call whose first one did not reach the gateway for sure
   * has the same idempotency key: it is drawn once.
   * @param {(status: string) => void} onstatus see `Progress.show`.
   * @throws {import("../common/api.js").ApiError}
   */
  async run(onstatus) {
    onstatus("sending");
    this.sending = new AbortController(); // that of a run before may have been aborted
    const endpoint = endpointOf(this.fields.model, this.reference instanceof File);
    this.task = await Task.begin(endpoint, this.sent, this.idempotencyKey, this.sending.signal);
    try {
      const response = await this.task.result(onstatus);
      Object.assign(this, await sortAnswer(response.data));
      this.withheld = Number(response.metadata?.failed_count ?? 0);
    } finally {
      this.cost = describeCost(await readCost(this.task.requestId), this.currency);
    }
  }

  /** Whether this call asks for the same as `other`. */
  isLike(other) {
    return JSON.stringify({ ...this.sent, seed: 0 }) === JSON.stringify({ ...other.sent, seed: 0 });
  }

  /**
   * Take the call back, if that is possible.
   * @returns {Promise<"withdrawn"|"sent"|"goes_on">} "sent" if nobody knows whether the gateway has it.
   */
  async cancel() {
    this.sending.abort();
    if (this.task === null) return "sent";
    return (await this.task.withdraw()) ? "withdrawn" : "goes_on";
  }
}

/** 128 random bits. `crypto.randomUUID` is missing on pages over plain HTTP. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16).padStart(8, "0")).join("");
}
