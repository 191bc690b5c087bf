// The models that the key may use.

import { getJson } from "../common/api.js";
import { el } from "../common/elements.js";
import { getKey } from "../common/key.js";

// Before there is a key, and if it is wrong: the gateway then says so when it draws.
const DEFAULT = { id: "MiniMax-Image-01" };

/**
 * Fill the chooser, which is shown if there is a choice.
 * @param {HTMLSelectElement} select in the element `model-field`.
 * @returns {Promise<Map<string, {id: string, pricing?: object}>>} the models by id.
 */
export async function loadModels(select) {
  const models = getKey() ? await getJson("/v1/models").then(({ json }) => json.data, () => []) : [];
  const shown = models.length ? models : [DEFAULT];
  select.replaceChildren(...shown.map(({ id }) => el("option", { value: id }, id)));
  document.getElementById("model-field").hidden = shown.length < 2;
  return new Map(shown.map((model) => [model.id, model]));
}
