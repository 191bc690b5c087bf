// The images of a call, with what can be done with each.

import { button, el } from "../common/elements.js";

// The gateway may keep images at an origin of its own, for as long as its operator has set.
const EXPIRY = "Save it soon: the link expires, one of MiniMax after 24 hours";

/**
 * Show a call's images in `list`, instead of those before.
 * @param {HTMLElement} list
 * @param {{fields: object, reference?: File|string|null, images: Blob[], urls?: string[], time: number}} call
 * @param {{again: (call: object) => void, use: (image: Blob) => void}} actions
 */
export function showImages(list, call, actions) {
  for (const image of list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  const figures = call.images.map((image, index) => figureOf(call, image, index, actions));
  const links = (call.urls ?? []).map((url) => linkOf(call, url, actions));
  list.replaceChildren(...[...figures, ...links].map((figure) => el("li", {}, figure)));
}

function figureOf(call, image, index, actions) {
  const source = URL.createObjectURL(image);
  const size = el("span");
  const shown = el("img", { src: source, alt: call.fields.prompt });
  shown.onload = () => { size.textContent = `${shown.naturalWidth} × ${shown.naturalHeight}`; };
  return el(
    "figure",
    {},
    shown,
    el(
      "figcaption",
      {},
      el("span", {}, `Seed ${call.fields.seed}`),
      size,
      el("a", { href: source, download: fileName(call, image, index), className: "button quiet" }, "Download"),
      againButton(call, actions),
      button("Use as reference", () => actions.use(image), { className: "quiet" }),
    ),
  );
}

/** A URL of another server, which this page may not load. It is a link if it is one of HTTP. */
function linkOf(call, url, actions) {
  const isHttp = /^https?:\/\//i.test(url);
  const shown = isHttp ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url) : el("span", {}, url);
  return el(
    "figure",
    { className: "link" },
    shown,
    el("figcaption", {}, el("span", {}, `Seed ${call.fields.seed}`), el("span", {}, EXPIRY), againButton(call, actions)),
  );
}

/** Without a word on the reference, the same call cannot be made: with or without an image would be a guess, and charged. */
function againButton(call, actions) {
  if (call.reference === undefined) return el("span", {}, "Not to be drawn again: its reference image was not kept");
  return button("Again with this seed", () => actions.again(call), { className: "quiet again" });
}

/** A name that sorts by time: amux-20261128-071500-seed-7-1.jpg. */
function fileName(call, image, index) {
  const time = new Date(call.time).toISOString().replace(/\D/g, "");
  const suffix = image.type === "image/png" ? "png" : "jpg";
  return `amux-${time.slice(0, 8)}-${time.slice(8, 14)}-seed-${call.fields.seed}-${index + 1}.${suffix}`;
}
