// What the page counts, how it is named, and how numbers are written.

const WHOLE = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

/** @returns {string} a number with separators. */
export const formatNumber = (value) => WHOLE.format(value);

const formatCount = (value) => COMPACT.format(value);

/**
 * Measures of a row of GET /v1/usage, by the field that holds them.
 * @param {function(number): string} formatCost of micro-units
 * @returns {{field: string, name: string, format: function(number): string, formatTick: function(number): string}[]}
 */
export const measuresWith = (formatCost) => [
  { field: "delivered", name: "Images", format: formatNumber, formatTick: formatCount },
  { field: "requests", name: "Calls", format: formatNumber, formatTick: formatCount },
  { field: "charged", name: "Cost", format: formatCost, formatTick: (microUnits) => formatCount(microUnits / 1e6) },
];
