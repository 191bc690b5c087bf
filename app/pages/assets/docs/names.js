// Names and focus for elements that Swagger UI leaves without them.

// By selector: the accessible name.
const NAMES = {
  "select.examples-select-element": "Example",
  "select.content-type": "Content type",
  "textarea.body-param__text": "Request body",
  "table.live-responses-table": "Response",
  "table.responses-table": "Responses",
  "input[type=file]": "File",
  "select:not([id])": "Value",
};
const SCROLLED = "pre.microlight, pre.example";

/** Name the elements in `viewer`, also those that it shows later. */
export function nameElements(viewer) {
  const name = () => {
    for (const [selector, text] of Object.entries(NAMES)) {
      for (const element of viewer.querySelectorAll(`${selector}:not([aria-label])`)) {
        element.setAttribute("aria-label", `${text}, ${operationOf(element)}`);
      }
    }
    for (const element of viewer.querySelectorAll(SCROLLED)) element.tabIndex = 0;
  };
  new MutationObserver(name).observe(viewer, { childList: true, subtree: true });
  name();
}

/** Operations have the same parts, so that a name needs the operation, too. */
function operationOf(element) {
  return element.closest(".opblock")?.querySelector(".opblock-summary")?.innerText.replace(/\s+/g, " ") ?? "";
}
