// Sums of the rows of GET /v1/usage, each of which has the totals of one day and model.

import { daysOf } from "./period.js";

const FIELDS = ["requests", "asked", "delivered", "charged"];
const MAX_SERIES = 8; // as many as there are colors
const OTHER_MODELS = "Other models";
const MAX_DAYS = 92; // with a bar of its own; more would be too thin on a phone
const WEEK = 7;

/** @returns {string} the name of a row's model; requests that named no valid one have none. */
export const nameOf = (row) => row.model ?? "No valid model";

/** @returns {{requests: number, asked: number, delivered: number, charged: number}} the sums of all rows. */
export function sumOf(rows) {
  return Object.fromEntries(FIELDS.map((field) => [field, rows.reduce((sum, row) => sum + row[field], 0)]));
}

/**
 * Sums by model, the most requested first.
 * @returns {{name: string, requests: number, asked: number, delivered: number, charged: number}[]}
 */
export function sumsByModel(rows) {
  return [...Map.groupBy(rows, nameOf)]
    .map(([name, its]) => ({ name, ...sumOf(its) }))
    .sort((one, other) => other.requests - one.requests);
}

/**
 * One series for each model, with a value for each day of the period, or for each seven days of a long one.
 * The least requested models share the last series.
 * @param {string} field of the rows
 * @returns {{unit: string, starts: string[], series: {name: string, values: number[]}[]}} `starts` are first days
 */
export function seriesOf(rows, period, field) {
  const days = daysOf(period);
  const step = days.length > MAX_DAYS ? WEEK : 1;
  const starts = days.filter((_, index) => index % step === 0);
  const names = sumsByModel(rows).map((sums) => sums.name);
  const own = names.length > MAX_SERIES ? names.slice(0, MAX_SERIES - 1) : names;
  const shown = own.length < names.length ? [...own, OTHER_MODELS] : own;
  const indexOfDay = new Map(days.map((day, index) => [day, index]));
  const series = shown.map((name) => ({ name, values: starts.map(() => 0) }));
  for (const row of rows) {
    const index = own.indexOf(nameOf(row));
    const { values } = series[index < 0 ? own.length : index];
    values[Math.floor(indexOfDay.get(row.day) / step)] += row[field];
  }
  return { unit: step === WEEK ? "week" : "day", starts, series };
}
