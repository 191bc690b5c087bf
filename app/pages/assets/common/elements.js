// Builds elements of the page. Text is only ever text: nothing is parsed as HTML.

/**
 * @param {string} tag
 * @param {Object<string, unknown>} properties of the element; names with a dash, and `role`, are attributes.
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** @returns {HTMLButtonElement} a button that calls `onclick`. */
export function button(text, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, text);
}

/** @returns {HTMLButtonElement} a button that copies what `read` returns, and says so. */
export function copyButton(text, read) {
  const copy = button(text, async () => {
    copy.textContent = await copyText(read()) ? "Copied" : "Copying is not possible";
    setTimeout(() => { copy.textContent = text; }, 1500);
  }, { className: "quiet" });
  return copy;
}

/** Browsers have no `navigator.clipboard` on pages over plain HTTP of another machine. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = el("textarea", { value: text });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return isCopied;
}
