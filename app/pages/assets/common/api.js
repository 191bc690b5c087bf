// Requests to the gateway, with the key of this tab.

import { getKey } from "./key.js";

/** An error of the gateway, or of the way to it: then `code` is "network" or "interrupted", and nobody knows whether it has the request. */
export class ApiError extends Error {
  /**
   * @param {{message: string, status: number, code: ?string, param?: ?string, requestId?: ?string,
   *   retryAfter?: ?number, shouldRetry?: boolean, taskId?: ?string}} details `retryAfter` is in seconds. With a
   *   `taskId`, the question for this task has failed, and not the task itself.
   */
  constructor({ message, ...details }) {
    super(message);
    Object.assign(this, { param: null, requestId: null, retryAfter: null, shouldRetry: false, taskId: null }, details);
  }
}

/**
 * @returns {Promise<Response>} a response below 400.
 * @throws {ApiError}
 */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const response = await send(path, { method, body, headers: { Authorization: authorization(), ...headers }, signal });
  if (response.ok) return response;
  throw await readError(response);
}

/**
 * @returns {Promise<{json: any, headers: Headers}>}
 * @throws {ApiError}
 */
export async function getJson(path, options = {}) {
  const response = await request(path, options);
  return { json: await readJson(response), headers: response.headers };
}

/** `getJson` of a POST with a JSON body. */
export function postJson(path, fields, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  return getJson(path, { ...options, method: "POST", body: JSON.stringify(fields), headers });
}

/** A header holds ASCII only: with another key, `fetch` would fail as if the network had. */
function authorization() {
  const key = getKey();
  if (/^[\x21-\x7e]*$/.test(key)) return `Bearer ${key}`;
  throw new ApiError({ message: "This is no API key: it has characters that no key has.", status: 401, code: "invalid_api_key" });
}

async function send(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ message: "The gateway could not be reached.", status: 0, code: "network" });
  }
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ message: "The response was cut short.", status: 0, code: "interrupted" });
  }
}

async function readError(response) {
  const error = await response.json().then((body) => body.error, () => null);
  const seconds = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  return new ApiError({
    message: error?.message ?? `The server responded with HTTP status ${response.status}.`,
    status: response.status,
    code: error?.code ?? (response.status >= 500 ? "interrupted" : String(response.status)),
    param: error?.param ?? null,
    requestId: response.headers.get("x-request-id"),
    retryAfter: Number.isNaN(seconds) ? null : seconds,
    shouldRetry: response.headers.get("x-should-retry") === "true",
  });
}
