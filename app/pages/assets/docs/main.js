// The page's entry point: shows /openapi.json in Swagger UI, whose script has been loaded before this one.

import { getKey } from "../common/key.js";
import { accessible } from "./accessible.js";
import { compact } from "./compact.js";
import { nameElements } from "./names.js";

const DOCUMENT = "/openapi.json";
const SCHEME = "apiKey";

/** Swagger UI takes dark colors from a class of the root element. */
function followColorScheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", apply);
  apply();
}

/** Authorize "Try it out" with the key that the playground has taken in this tab, and say which key it uses from now on. */
function authorize(viewer) {
  if (getKey()) viewer.preauthorizeApiKey(SCHEME, getKey());
  viewer.getStore().subscribe(() => showKeyState(viewer));
  showKeyState(viewer);
}

function showKeyState(viewer) {
  const key = viewer.authSelectors.authorized().getIn([SCHEME, "value"]);
  const text = !key
    ? "“Try it out” needs an API key: set it in the playground, or with “Authorize” below."
    : `“Try it out” uses the API key ${key === getKey() ? "of this tab" : "that you gave with “Authorize”"}.`;
  const state = document.getElementById("key-state");
  if (state.textContent !== text) state.textContent = text; // screen readers read each change
}

const EMPTY_TYPES = ["string", "integer", "number", "boolean"];

/**
 * Swagger UI fills each field of a form with something. An empty field is an absent one, so optional fields begin empty.
 * Other spellings, which are objects and lists, cannot: this page has them in the JSON body only.
 */
function withEmptyForm(openapi) {
  const { properties, required } = openapi.components.schemas.ImageForm;
  for (const [name, property] of Object.entries(properties)) {
    if (required.includes(name) || property.format === "binary") continue;
    if (EMPTY_TYPES.includes(property.type)) property.default = "";
    else delete properties[name];
  }
  return openapi;
}

followColorScheme();
nameElements(document.getElementById("viewer"));
const response = await fetch(DOCUMENT);
const viewer = window.SwaggerUIBundle({
  spec: withEmptyForm(await response.json()),
  dom_id: "#viewer",
  layout: "AccessibleLayout",
  plugins: [accessible, compact],
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: "list",
  onComplete: () => authorize(viewer),
  persistAuthorization: false, // it would keep the key in localStorage, beyond the tab
  queryConfigEnabled: false, // a link could load another document
  requestSnippetsEnabled: false,
  syntaxHighlight: false, // its colors are too pale for their background
  validatorUrl: null, // the validator of swagger.io
});
