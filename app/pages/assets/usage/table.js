// Tables whose cells are text.

import { el } from "../common/elements.js";

/**
 * A column: its heading, the text of its cell for a row, and whether that is a number.
 * @typedef {{heading: string, text: function(object): string, isNumber?: boolean}} Column
 */

/** Replace the contents of a table, but for its caption. */
export function fillTable(table, columns, rows) {
  table.tHead?.remove();
  for (const body of [...table.tBodies]) body.remove();
  table.append(el("thead", {}, el("tr", {}, ...columns.map(headingOf))), el("tbody"));
  addRows(table, columns, rows);
}

/** Append rows to a table that `fillTable` has filled with the same columns. */
export function addRows(table, columns, rows) {
  table.tBodies[0].append(...rows.map((row) => el("tr", {}, ...columns.map((column, index) => cell(column, index, row)))));
}

const classOf = ({ isNumber }) => (isNumber ? "number" : "");

function headingOf(column) {
  return el("th", { scope: "col", className: classOf(column) }, column.heading);
}

function cell(column, index, row) {
  const text = column.text(row);
  return index ? el("td", { className: classOf(column) }, text) : el("th", { scope: "row" }, text);
}
