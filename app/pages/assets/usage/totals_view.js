// The totals of the period: sums, the chart with its tables, and the choice of what it shows.

import { el } from "../common/elements.js";
import { BarChart } from "./chart.js";
import { formatNumber, measuresWith } from "./measures.js";
import { fillTable } from "./table.js";
import { tile } from "./tiles.js";
import { nameOf, seriesOf, sumOf, sumsByModel } from "./totals.js";

const BARS = { day: "Each bar is a day in UTC.", week: "Each bar is seven days in UTC, from the day below it." };

const byId = (id) => document.getElementById(id);

export class Totals {
  #chart = new BarChart(byId("chart"), byId("legend"));
  #usage = null;
  #measures = [];
  #field = "delivered";

  /** @param {object} usage the response of GET /v1/usage */
  async show(usage, formatCost) {
    this.#usage = usage;
    this.#measures = measuresWith(formatCost);
    const sums = sumOf(usage.data);
    byId("totals").replaceChildren(...this.#measures.map(({ field, name, format }) => tile(name, format(sums[field]))));
    const isEmpty = usage.data.length === 0;
    byId("no-calls").hidden = !isEmpty;
    byId("by-day").hidden = isEmpty;
    if (isEmpty) return;
    this.#showChoice();
    this.#showTables();
    await this.#showChart();
  }

  #showChart() {
    const measure = this.#measures.find(({ field }) => field === this.#field);
    const data = seriesOf(this.#usage.data, this.#usage, this.#field);
    byId("bars").textContent = BARS[data.unit];
    return this.#chart.show(data, measure);
  }

  #showChoice() {
    const choices = byId("measures");
    if (choices.querySelector("input")) return;
    choices.append(...this.#measures.map(({ field, name }) => this.#choice(field, name)));
    choices.addEventListener("change", ({ target }) => {
      this.#field = target.value;
      this.#showChart();
    });
  }

  #choice(field, name) {
    const input = el("input", { type: "radio", name: "measure", value: field, checked: field === this.#field });
    return el("label", {}, input, ` ${name}`);
  }

  #showTables() {
    const numbers = this.#measures.map(({ field, name, format }) => ({
      heading: name,
      text: (row) => format(row[field]),
      isNumber: true,
    }));
    fillTable(byId("by-model"), [{ heading: "Model", text: ({ name }) => name }, ...numbers], sumsByModel(this.#usage.data));
    const days = [{ heading: "Day", text: ({ day }) => day }, { heading: "Model", text: nameOf }, ...numbers];
    fillTable(byId("days"), days, this.#usage.data.toReversed());
  }
}
