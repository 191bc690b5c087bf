// The aspect ratios, as radio buttons that show their shapes.

import { el } from "../common/elements.js";

// MiniMax's, in the order of its documents. 1:1 is its default.
export const RATIOS = ["1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9"];
const SIDE = 28; // pixels of the longer side of a shape

/** Fill `container` with the radio buttons, named `aspect_ratio`. */
export function showRatios(container) {
  container.append(...RATIOS.map((ratio, index) => el(
    "label",
    { className: "ratio" },
    el("input", { type: "radio", name: "aspect_ratio", value: ratio, checked: index === 0 }),
    el("span", { className: "frame", "aria-hidden": "true" }, shape(ratio)),
    el("span", {}, ratio),
  )));
}

function shape(ratio) {
  const [width, height] = ratio.split(":").map(Number);
  const drawn = el("span", { className: "shape" });
  const scale = SIDE / Math.max(width, height);
  drawn.style.width = `${width * scale}px`;
  drawn.style.height = `${height * scale}px`;
  return drawn;
}
