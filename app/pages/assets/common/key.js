// The API key of this tab. It is in the tab's session storage only, and goes nowhere but into the Authorization header.

const NAME = "amux-key";
const callbacks = [];

/** @returns {string} the key, empty without one. */
export function getKey() {
  return sessionStorage.getItem(NAME) ?? "";
}

export function setKey(text) {
  sessionStorage.setItem(NAME, text.trim());
  callbacks.forEach((callback) => callback());
}

export function forgetKey() {
  sessionStorage.removeItem(NAME);
  callbacks.forEach((callback) => callback());
}

/** Call `callback` after each change of the key. */
export function onKeyChange(callback) {
  callbacks.push(callback);
}

/**
 * Take the key from the fragment of a URL such as `/#key=amux-…`, which browsers do not send, and remove it from there:
 * now, and whenever such a URL is opened in this tab, which does not load the page again.
 */
export function takeKeysFromUrl() {
  takeKey();
  addEventListener("hashchange", takeKey);
}

function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return;
  setKey(key);
  history.replaceState(null, "", location.pathname + location.search);
}
