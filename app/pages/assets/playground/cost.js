// What an image costs, what a call has cost, and what is left.

import { getJson } from "../common/api.js";
import { formatMoney } from "../common/money.js";

const ATTEMPTS = 5; // the usage row is written just after the answer
const PAUSE_MS = 200;
const TASK = "task"; // what `taken` is of the attempt that began the call; others with its request id cost nothing

/** The price of `n` images of a model, as a sentence. Empty where there is no price. */
export function describePrice(model, n) {
  if (!model?.pricing) return "";
  const { currency, per_image_micro_units: price } = model.pricing;
  const each = `${formatMoney(price, currency)} per image`;
  return n > 1 ? `${each}, ${n} images: ${formatMoney(n * price, currency)}` : each;
}

/**
 * What the call with this request id has cost, and the balance now.
 * @returns {Promise<?{charged: number, balance: ?number}>} in micro-units; null if the gateway has no usage of it.
 */
export async function readCost(requestId) {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const requests = await getJson("/v1/usage/requests?limit=100").then(({ json }) => json.data, () => null);
    if (requests === null) return null;
    const row = requests.find((each) => each.request_id === requestId && each.taken === TASK);
    if (row) return { charged: row.charged, balance: await readBalance() };
    await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
  }
  return null;
}

/** @returns {string} such as "Cost 0.01 USD. Balance 0.99 USD." */
export function describeCost(cost, currency) {
  if (!cost) return "";
  const balance = cost.balance === null ? "" : ` Balance ${formatMoney(cost.balance, currency)}.`;
  return `Cost ${formatMoney(cost.charged, currency)}.${balance}`;
}

/** The message of `insufficient_balance`, whose amounts are in micro-units, with amounts of the currency. */
export function withCurrency(message, currency) {
  return currency ? message.replace(/(-?\d+)( micro-units)?/g, (_, amount) => formatMoney(Number(amount), currency)) : message;
}

async function readBalance() {
  return getJson("/v1/usage").then(({ json }) => json.balance, () => null);
}
