// The table of the latest requests, page by page.

import { getJson } from "../common/api.js";
import { showError } from "../common/errors.js";
import { formatNumber } from "./measures.js";
import { addRows, fillTable } from "./table.js";

const PAGE_SIZE = 20;
const TAKEN = {
  connection: "directly",
  retry: "by a retry",
  idempotency_key: "by an idempotency key",
  task: "as a task",
  stream: "as a stream",
  nobody: "by nobody",
};

/** @returns {string} such as "2026-01-31 12:00:05". */
export const formatTime = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");

/** @returns {string} such as "35 ms" or "12.3 s". */
export const formatDuration = (ms) => (ms < 1000 ? `${ms} ms` : `${formatNumber(Math.round(ms / 100) / 10)} s`);

function imagesOf({ asked, delivered }) {
  const all = formatNumber(asked);
  return asked === delivered ? all : `${formatNumber(delivered)} of ${all}`;
}

function columnsWith(formatCost) {
  return [
    { heading: "Time (UTC)", text: (row) => formatTime(row.created) },
    { heading: "Status", text: (row) => String(row.status), isNumber: true },
    { heading: "Code", text: (row) => row.code ?? "" },
    { heading: "Model", text: (row) => row.model ?? "" },
    { heading: "Images", text: imagesOf, isNumber: true },
    { heading: "Cost", text: (row) => formatCost(row.charged), isNumber: true },
    { heading: "Duration", text: (row) => formatDuration(row.milliseconds), isNumber: true },
    { heading: "Answer taken", text: (row) => TAKEN[row.taken] ?? row.taken },
    { heading: "Request id", text: (row) => row.request_id },
  ];
}

/** The list and its button "Older", which appends a page. */
export class RequestList {
  #elements;
  #columns = [];
  #next = null;
  #signal = null;
  #isLoading = false;

  /** @param {{table, scroll, older, empty, error}} elements */
  constructor(elements) {
    this.#elements = elements;
    elements.older.addEventListener("click", () => this.#addPage());
  }

  /** Show the first page. `signal` is aborted when its rows are out of date, also after it is shown. Throws `ApiError`. */
  async load(formatCost, signal) {
    const page = await fetchPage(null, signal);
    const { table, scroll, empty, error } = this.#elements;
    this.#columns = columnsWith(formatCost);
    this.#signal = signal;
    error.replaceChildren();
    fillTable(table, this.#columns, page.data);
    scroll.hidden = page.data.length === 0;
    empty.hidden = page.data.length > 0;
    this.#follow(page);
  }

  async #addPage() {
    if (this.#isLoading) return; // a disabled button would lose the focus
    const { table, scroll, error } = this.#elements;
    const signal = this.#signal; // `load` may set another one meanwhile, for the table of another key
    this.#isLoading = true;
    error.replaceChildren();
    try {
      const page = await fetchPage(this.#next, signal);
      if (signal.aborted) return;
      addRows(table, this.#columns, page.data);
      this.#follow(page);
      if (page.next === null) scroll.focus();
    } catch (problem) {
      if (!signal.aborted) showError(error, problem);
    } finally {
      this.#isLoading = false;
    }
  }

  #follow(page) {
    this.#next = page.next;
    this.#elements.older.hidden = page.next === null;
  }
}

async function fetchPage(before, signal) {
  const query = new URLSearchParams({ limit: PAGE_SIZE, ...(before && { before }) });
  return (await getJson(`/v1/usage/requests?${query}`, { signal })).json;
}
