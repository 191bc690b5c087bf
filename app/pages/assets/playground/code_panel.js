// Tabs with the form's call as a program in each language.

import { copyButton, el } from "../common/elements.js";
import { curlCode } from "./code_curl.js";
import { nodeCode } from "./code_node.js";
import { pythonCode } from "./code_python.js";

const LANGUAGES = [
  { name: "curl", write: curlCode },
  { name: "Python", write: pythonCode },
  { name: "Node", write: nodeCode },
];
// Which tab a key leads to, from the current one.
const STEPS = { ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => -1 };

export class CodePanel {
  /** @param {HTMLElement} container */
  constructor(container) {
    this.call = null;
    this.shown = 0;
    this.code = el("pre", { tabIndex: 0 });
    this.tabs = LANGUAGES.map(({ name }, index) => el(
      "button",
      { type: "button", role: "tab", id: `tab-${name}`, className: "tab", "aria-controls": "code-shown", onclick: () => this.#select(index) },
      name,
    ));
    const tabList = el("div", { role: "tablist", className: "tabs", "aria-labelledby": "code-title" }, ...this.tabs);
    tabList.addEventListener("keydown", (event) => this.#move(event));
    this.panel = el("div", { role: "tabpanel", id: "code-shown" }, this.code);
    container.append(el("div", { className: "row" }, tabList, copyButton("Copy code", () => this.code.textContent)), this.panel);
  }

  /**
   * @param {{baseUrl: string, endpoint: "edits"|"generations", fields: object, file: ?string, imageUrl: ?string,
   *   fault: ?string}} call what the form says now. `file` is the name of the reference image's file. `fault` is shown
   *   instead of the code.
   */
  show(call) {
    this.call = call;
    this.#select(this.shown);
  }

  #select(index) {
    this.shown = index;
    this.tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
    this.panel.setAttribute("aria-labelledby", this.tabs[index].id);
    this.code.textContent = this.call.fault ?? LANGUAGES[index].write(this.call);
  }

  #move(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (step(this.shown) + this.tabs.length) % this.tabs.length;
    this.#select(next);
    this.tabs[next].focus();
  }
}
