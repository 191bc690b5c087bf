// The balance, and what is left of the limits of an API key.

import { el } from "../common/elements.js";
import { formatNumber } from "./measures.js";
import { tile } from "./tiles.js";

const NAMES = {
  requests_per_minute: "Calls per minute",
  images_per_minute: "Images per minute",
  max_calls: "Calls at the same time",
};

/**
 * @param {object} usage the response of GET /v1/usage
 * @param {function(number): string} formatCost
 * @returns {HTMLElement[]} a tile for the balance and one for each limit
 */
export function limitTiles(usage, formatCost) {
  const balance = usage.balance === null ? "Not limited" : formatCost(usage.balance);
  return [tile("Balance", balance), ...Object.keys(usage.limits).map((name) => limitTile(usage, name))];
}

function limitTile({ limits, remaining, reset_seconds: resets }, name) {
  const label = NAMES[name] ?? name;
  if (limits[name] === null) return tile(label, "No limit");
  const text = `${formatNumber(remaining[name])} of ${formatNumber(limits[name])} left`;
  const reset = resets[name] ? [el("span", { className: "hint" }, `All of it again in ${resets[name]} s`)] : [];
  const meter = el("meter", { max: limits[name] || 1, value: remaining[name], "aria-label": `${label}: left` });
  return tile(label, text, meter, ...reset);
}
