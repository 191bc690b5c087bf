// The page's entry point: loads the usage of the key and shows it.

import { getJson } from "../common/api.js";
import { showError } from "../common/errors.js";
import { getKey, onKeyChange, takeKeysFromUrl } from "../common/key.js";
import { createKeyForm } from "../common/key_form.js";
import { formatMoney } from "../common/money.js";
import { limitTiles } from "./limits.js";
import { PeriodForm } from "./period_form.js";
import { RequestList } from "./requests.js";
import { Totals } from "./totals_view.js";

const byId = (id) => document.getElementById(id);

const requests = new RequestList({
  table: byId("requests"),
  scroll: byId("requests-scroll"),
  older: byId("older"),
  empty: byId("no-requests"),
  error: byId("requests-error"),
});
const totals = new Totals();
const period = new PeriodForm(byId("period"), load);
let loading = new AbortController();

takeKeysFromUrl();
byId("key").append(createKeyForm());
onKeyChange(load);
load();

/** Load everything again. A load that still runs is given up. */
async function load() {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  byId("error").replaceChildren();
  if (!getKey()) return show("Enter an API key to see its usage.");
  byId("status").textContent = "Loading …";
  try {
    await loadReport(signal);
    if (!signal.aborted) show("", true);
  } catch (problem) {
    if (!signal.aborted) showProblem(problem);
  }
}

async function loadReport(signal) {
  const query = new URLSearchParams(period.value());
  const usage = (await getJson(`/v1/usage?${query}`, { signal })).json;
  const formatCost = await costFormat(signal);
  await requests.load(formatCost, signal);
  byId("limits").replaceChildren(...limitTiles(usage, formatCost));
  byId("report").hidden = false; // the chart takes the size of its place
  await totals.show(usage, formatCost);
}

/** Costs are in the currency of the models' prices, and without one where no model has a price. */
async function costFormat(signal) {
  const { data } = (await getJson("/v1/models", { signal })).json;
  const currency = data.find((model) => model.pricing)?.pricing.currency ?? "";
  return (microUnits) => formatMoney(microUnits, currency);
}

function show(status, hasReport = false) {
  byId("status").textContent = status;
  byId("report").hidden = !hasReport;
}

function showProblem(problem) {
  if (problem.status === 404) return show("This gateway keeps no usage, because it has no database.");
  show("");
  return showError(byId("error"), problem);
}
