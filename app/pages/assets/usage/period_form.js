// The form that chooses the period.

import { lastDays, problemOf, today } from "./period.js";

/** A change of the days, or the button, calls `onChange`, unless the dates are wrong. */
export class PeriodForm {
  #form;
  #onChange;

  constructor(form, onChange) {
    this.#form = form;
    this.#onChange = onChange;
    for (const name of ["start", "end"]) form.elements[name].max = today();
    form.addEventListener("change", (event) => event.target.name === "days" && this.#choose());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
  }

  /** @returns {{start: string, end: string}} the period that is chosen. */
  value() {
    const { days, start, end } = this.#form.elements;
    return days.value === "own" ? { start: start.value, end: end.value } : lastDays(Number(days.value));
  }

  #choose() {
    const { days, start, end } = this.#form.elements;
    const isOwn = days.value === "own";
    this.#form.querySelector("#own-dates").hidden = !isOwn;
    if (isOwn && !start.value) {
      ({ start: start.value, end: end.value } = lastDays(30));
      start.focus();
    }
    this.#apply();
  }

  #apply() {
    const problem = problemOf(this.value());
    this.#form.querySelector("#period-problem").textContent = problem;
    if (!problem) this.#onChange();
  }
}
