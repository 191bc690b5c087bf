// Tiles: a term and its value in large type.

import { el } from "../common/elements.js";

/** @returns {HTMLElement} a group of a description list. */
export function tile(term, value, ...more) {
  return el("div", { className: "tile" }, el("dt", {}, term), el("dd", {}, el("strong", {}, value), ...more));
}
