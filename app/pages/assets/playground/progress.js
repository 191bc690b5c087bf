// What the call does now, with seconds that count up: waiting for a turn, or being drawn.

import { el } from "../common/elements.js";

const TEXTS = { sending: "Sending …", queued: "Waiting for a turn …", in_progress: "Drawing …", unreachable: "The gateway does not respond; asking again …" };

export class Progress {
  /** @param {HTMLElement} element with the role `status`. */
  constructor(element) {
    this.element = element;
  }

  /** Show a status of `TEXTS`; its seconds begin at 0 if it is another one than before. */
  show(status) {
    if (status === this.status) return;
    this.stop();
    this.status = status;
    const since = performance.now();
    const seconds = el("span", { "aria-hidden": "true" }); // a screen reader would read each second out
    this.element.replaceChildren(`${TEXTS[status]} `, seconds);
    this.timer = setInterval(() => {
      seconds.textContent = `${Math.floor((performance.now() - since) / 1000)} s`;
    }, 250);
  }

  /** Show no status, but `text`. */
  stop(text = "") {
    clearInterval(this.timer);
    this.status = null;
    this.element.textContent = text;
  }
}
