// The chart of totals: stacked bars by Chart.js, one color for each model.

import { el } from "../common/elements.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const sumAt = (series, index) => series.reduce((sum, { values }) => sum + values[index], 0);

/** A chart on a canvas with the role "slider": the arrow keys move from bar to bar. */
export class BarChart {
  #canvas;
  #legend;
  #chart = null;
  #drawn = null;
  #index = 0;

  /** @param {HTMLCanvasElement} canvas @param {HTMLElement} legend a list */
  constructor(canvas, legend) {
    this.#canvas = canvas;
    this.#legend = legend;
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("blur", () => this.#point([]));
    dark.addEventListener("change", () => this.#drawn && this.#draw());
  }

  /**
   * @param {{unit: string, starts: string[], series: {name: string, values: number[]}[]}} data of `seriesOf`
   * @param {{name: string, format: function(number): string, formatTick: function(number): string}} measure
   */
  async show(data, measure) {
    await import("../chartjs.js"); // a script that defines `Chart`, and is loaded only where there is something to draw
    this.#drawn = { ...data, measure };
    this.#draw();
    this.#legend.replaceChildren(...data.series.map(({ name }, index) => legendItem(name, index)));
    this.#move(data.starts.length - 1);
  }

  #draw() {
    this.#chart?.destroy();
    this.#chart = new globalThis.Chart(this.#canvas, configuration(this.#drawn, getComputedStyle(this.#canvas)));
  }

  #onKey(event) {
    const last = this.#drawn.starts.length - 1;
    const targets = {
      ArrowLeft: this.#index - 1,
      ArrowDown: this.#index - 1,
      ArrowRight: this.#index + 1,
      ArrowUp: this.#index + 1,
      Home: 0,
      End: last,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    this.#move(Math.min(Math.max(targets[event.key], 0), last));
    this.#point(this.#drawn.series.map((_, datasetIndex) => ({ datasetIndex, index: this.#index })));
  }

  /** Tell assistive technology the bar and its numbers. */
  #move(index) {
    const { unit, starts, series, measure } = this.#drawn;
    this.#index = index;
    const parts = series.map(({ name, values }) => `${name} ${measure.format(values[index])}`);
    const text = `${titleOf(unit, starts[index])}: ${measure.format(sumAt(series, index))}`;
    const attributes = {
      "aria-label": `${measure.name} by ${unit}`,
      "aria-valuemax": starts.length,
      "aria-valuenow": index + 1,
      "aria-valuetext": parts.length > 1 ? `${text} (${parts.join(", ")})` : text,
    };
    for (const [name, value] of Object.entries(attributes)) this.#canvas.setAttribute(name, value);
  }

  #point(elements) {
    this.#chart?.setActiveElements(elements);
    this.#chart?.tooltip.setActiveElements(elements, { x: 0, y: 0 });
    this.#chart?.update();
  }
}

const titleOf = (unit, start) => (unit === "week" ? `Week from ${start}` : start);
const colorOf = (style, index) => style.getPropertyValue(`--series-${index + 1}`);

function configuration({ unit, starts, series, measure }, style) {
  const [foreground, border, background] = ["--fg", "--border", "--panel"].map((name) => style.getPropertyValue(name));
  const axis = { stacked: true, border: { color: border }, ticks: { color: foreground } };
  return {
    type: "bar",
    data: {
      labels: starts,
      datasets: series.map(({ name, values }, index) => ({
        label: name,
        data: values,
        backgroundColor: colorOf(style, index),
        borderColor: background,
        borderWidth: starts.length > 60 ? 0 : { top: 1 },
      })),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { ...axis, grid: { display: false }, ticks: { ...axis.ticks, maxRotation: 0, autoSkipPadding: 16 } },
        y: {
          ...axis,
          grid: { color: border },
          ticks: { ...axis.ticks, precision: 0, callback: measure.formatTick, maxTicksLimit: 6 },
        },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          filter: ({ raw }) => raw > 0,
          callbacks: {
            title: ([{ label } = {}]) => (label ? titleOf(unit, label) : ""),
            label: ({ dataset, raw }) => `${dataset.label}: ${measure.format(raw)}`,
            footer: (items) => (items.length > 1 ? `Sum: ${measure.format(sumAt(series, items[0].dataIndex))}` : ""),
          },
        },
      },
    },
  };
}

function legendItem(name, index) {
  return el("li", {}, el("span", { className: `swatch series-${index + 1}` }), name);
}
