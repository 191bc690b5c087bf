// The models that the key may use.

import { getJson } from "../common/api.js";
import { el } from "../common/elements.js";
import { getKey } from "../common/key.js";

// Before there is a key, and if it is wrong: the gateway then says so when it draws.
const DEFAULT = { id: "MiniMax-Image-01" };

/** @returns {Promise<Map<string, {id: string, pricing?: object}>>} the models by id, at least one. */
export async function loadModels() {
  const models = getKey() ? await getJson("/v1/models").then(({ json }) => json.data, () => []) : [];
  return new Map((models.length ? models : [DEFAULT]).map((model) => [model.id, model]));
}

/**
 * Fill the chooser, which is shown if there is a choice. What is chosen stays so, where it can.
 * @param {HTMLSelectElement} select in the element `model-field`.
 * @param {Map<string, object>} models what `loadModels` returns.
 */
export function showModels(select, models) {
  const chosen = select.value;
  select.replaceChildren(...[...models.keys()].map((id) => el("option", { value: id }, id)));
  if (models.has(chosen)) select.value = chosen;
  document.getElementById("model-field").hidden = models.size < 2;
}
