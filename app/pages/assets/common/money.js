// Money is counted in micro-units: millionths of the currency.

/** @returns {string} such as "0.01 USD" or "0.0035 USD": two digits after the point, and more where they are needed. */
export function formatMoney(microUnits, currency) {
  const amount = (microUnits / 1e6).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 });
  return `${amount} ${currency}`.trim();
}
