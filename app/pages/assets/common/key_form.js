// The form in which the API key is given to the page, and taken back.

import { button, el } from "./elements.js";
import { forgetKey, getKey, onKeyChange, setKey } from "./key.js";

/** @returns {HTMLFormElement} which shows whether there is a key, and changes it. */
export function createKeyForm() {
  const input = el("input", { id: "api-key", type: "password", autocomplete: "off", spellcheck: false, required: true });
  const forget = button("Forget key", () => { forgetKey(); input.focus(); }, { className: "quiet" });
  const hint = el("p", { id: "api-key-hint", className: "hint" });
  input.setAttribute("aria-describedby", hint.id);
  const form = el(
    "form",
    { className: "key" },
    el("label", { htmlFor: input.id }, "API key"),
    el("div", { className: "row" }, input, el("button", { type: "submit" }, "Use key"), forget),
    hint,
  );
  form.addEventListener("submit", (event) => { event.preventDefault(); setKey(input.value); });

  function show() {
    input.value = getKey();
    forget.hidden = !getKey();
    hint.textContent = getKey()
      ? "Kept for this tab only, until you close it."
      : "The operator of this gateway gives you one; make run prints one. It is kept for this tab only.";
  }
  onKeyChange(show);
  show();
  return form;
}
