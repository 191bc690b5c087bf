// Periods of whole days in UTC. A day is a string such as "2026-01-31".

const DAY_MILLISECONDS = 24 * 3600 * 1000;
export const MAX_DAYS = 366; // of GET /v1/usage

/** @returns {string} the day in UTC of a moment in milliseconds. */
export const dayOf = (moment) => new Date(moment).toISOString().slice(0, 10);

/** @returns {string} the current day. */
export const today = () => dayOf(Date.now());

/** @returns {{start: string, end: string}} the last `count` days, the current one included. */
export function lastDays(count, end = today()) {
  return { start: dayOf(Date.parse(end) - (count - 1) * DAY_MILLISECONDS), end };
}

/** @returns {string[]} each day of the period, both ends included. */
export function daysOf({ start, end }) {
  const first = Date.parse(start);
  const count = Math.round((Date.parse(end) - first) / DAY_MILLISECONDS) + 1;
  return Array.from({ length: count }, (_, index) => dayOf(first + index * DAY_MILLISECONDS));
}

/** @returns {string} what is wrong with a period that was typed in, or "". */
export function problemOf({ start, end }) {
  const days = (Date.parse(end) - Date.parse(start)) / DAY_MILLISECONDS + 1;
  if (Number.isNaN(days)) return "Choose the first and the last day.";
  if (days < 1) return "The first day comes after the last one.";
  return days > MAX_DAYS ? `Choose at most ${MAX_DAYS} days.` : "";
}
