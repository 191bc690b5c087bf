// The form: what it says as the fields of a call, and where the fault of a field is shown.

import { el } from "../common/elements.js";

export const MAX_PROMPT = 1500; // characters, as MiniMax counts them

// The API's seeds have 64 bits. JavaScript's numbers, and so JSON of the page and of Node, are exact up to this one.
const MAX_SEED = Number.MAX_SAFE_INTEGER;

// Which control a field of the API belongs to, where its name is another one.
const CONTROLS = { images: "image", subject_reference: "image", size: "aspect_ratio" };

/**
 * The fields of the API that the form sets. A seed that is empty, a box that is not checked, and the default ratio are left out.
 * @param {HTMLFormElement} form
 * @returns {{model: string, prompt: string, aspect_ratio?: string, n?: number, seed?: number|string,
 *   prompt_optimizer?: true, aigc_watermark?: true, response_format: "b64_json"|"url"}}
 */
export function readFields(form) {
  const values = new FormData(form);
  const fields = { model: values.get("model"), prompt: values.get("prompt") };
  if (values.get("aspect_ratio") !== "1:1") fields.aspect_ratio = values.get("aspect_ratio");
  if (values.get("n") !== "1") fields.n = readNumber(values.get("n"));
  if (values.get("seed") !== "") fields.seed = readNumber(values.get("seed"));
  for (const name of ["prompt_optimizer", "aigc_watermark"]) if (values.has(name)) fields[name] = true;
  fields.response_format = values.get("response_format");
  return fields;
}

/** @returns {?string} what is wrong with the seed: the fault that the gateway could not see, or not as it was typed. */
export function faultOfSeed(form) {
  const { value, validity } = form.elements.seed;
  // What a browser cannot read as a number is empty for scripts: it would be a random seed.
  const isGood = !validity.badInput && Number.isSafeInteger(Number(value));
  return isGood ? null : `The seed must be a whole number from -${MAX_SEED} to ${MAX_SEED}.`;
}

/** Set the form's controls from `fields`, as `readFields` returns them. */
export function writeFields(form, fields) {
  const { elements } = form;
  elements.prompt.value = fields.prompt;
  elements.model.value = fields.model;
  elements.aspect_ratio.value = fields.aspect_ratio ?? "1:1";
  elements.n.value = fields.n ?? 1;
  elements.seed.value = fields.seed ?? "";
  elements.response_format.value = fields.response_format ?? "b64_json";
  for (const name of ["prompt_optimizer", "aigc_watermark"]) elements[name].checked = fields[name] ?? false;
  form.dispatchEvent(new Event("input"));
}

/** Show `message` at the control of the field `param`, and give that the focus. Without such a control, do nothing. */
export function showFault(form, param, message) {
  const found = form.elements[CONTROLS[param] ?? param];
  const control = found instanceof RadioNodeList ? found[0] : found;
  if (!control) return;
  const fault = el("p", { id: "fault", className: "fault" }, message);
  control.setAttribute("aria-invalid", "true");
  control.dataset.describedby = control.getAttribute("aria-describedby") ?? "";
  control.setAttribute("aria-describedby", `${control.dataset.describedby} fault`.trim());
  control.closest(".field").append(fault);
  control.focus({ preventScroll: true });
  control.closest(".field").scrollIntoView({ block: "nearest" }); // with the message
}

export function clearFault(form) {
  document.getElementById("fault")?.remove();
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    if (control.dataset.describedby) control.setAttribute("aria-describedby", control.dataset.describedby);
    else control.removeAttribute("aria-describedby");
  }
}

/** Characters of a text as Python and MiniMax count them: an emoji is one. */
export function countCharacters(text) {
  return [...text].length;
}

/** A number that JavaScript holds exactly, else the text: the gateway then names the fault, and nothing is rounded. */
function readNumber(text) {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : text;
}
