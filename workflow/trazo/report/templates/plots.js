// Figures that answer when pointed at. Their data are in #plot-data, as report/hover.py makes them; plotly draws them,
// and is unpacked when the first of them comes near. Without this script the still pictures stand; they are also what
// is printed.
(() => {
  "use strict";
  const holder = document.getElementById("plot-data"), library = document.getElementById("plotly-packed");
  if (!holder || !library) return;
  // A browser of before 2023 keeps the still pictures.
  if (typeof DecompressionStream === "undefined") return unfoldAll();
  const plots = JSON.parse(holder.textContent);
  // A finger that moves scrolls the page; a mouse draws a frame to look closer, and a double click goes back.
  const TOUCHED = matchMedia("(hover: none)").matches;
  let drawing = null;

  function plotly() {
    drawing ??= unpacked(library.textContent).then(bytes => {
      const script = document.createElement("script");
      script.textContent = new TextDecoder().decode(bytes);
      document.head.append(script);
      library.remove();
      return window.Plotly;
    });
    return drawing;
  }

  // Colours of the theme for every `var(--…)`.
  function themed(value, style) {
    if (typeof value === "string") return value.replace(/^var\((--[\w-]+)\)$/, (_, name) => style.getPropertyValue(name).trim());
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(one => themed(one, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, themed(one, style)]));
  }

  class Plot {
    constructor(figure, spec) {
      this.spec = spec;
      this.off = new Set();
      this.still = figure.querySelector(".scroll");
      this.box = element("div", { className: "plot-box" });
      this.box.style.height = `${spec.height}px`;
      this.box.style.minWidth = `min(${spec.width}px, ${spec.width > 640 ? 660 : 460}px)`;
      this.box.style.maxWidth = `${Math.max(spec.width * 1.25, 640)}px`;
      const scroll = element("div", { className: "scroll", role: "region", tabIndex: 0, "aria-label": this.still.getAttribute("aria-label") }, this.box);
      this.live = element("div", { className: "plot-live" }, this.legend(), scroll);
      const toggle = element("button", { type: "button", className: "plot-toggle", textContent: "Still picture", "aria-pressed": "false" });
      toggle.onclick = () => {
        const still = figure.classList.toggle("stilled");
        toggle.setAttribute("aria-pressed", String(still));
        if (still) unfolded(this.still); else this.draw();
      };
      figure.prepend(toggle, this.live);
      figure.classList.add("plotted");
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    legend() {
      const groups = new Map();
      for (const trace of this.spec.data) {
        if (!trace.legendgroup || trace.type === "heatmap") continue;
        const colour = trace.line?.color ?? trace.marker?.color;
        if (colour && !groups.has(trace.legendgroup)) groups.set(trace.legendgroup, { colour, dash: trace.line?.dash });
      }
      const made = element("div", { className: "map-legend", role: "group", "aria-label": "Shown" });
      if (groups.size < 2) return made;
      for (const [name, { colour, dash }] of groups) {
        const sign = element("i", { className: `plot-sign ${dash ?? "block"}` });
        sign.style.color = colour;
        const button = element("button", { type: "button", "aria-pressed": "true" }, sign, name);
        button.onclick = () => {
          const on = this.off.delete(name);
          if (!on) this.off.add(name);
          button.setAttribute("aria-pressed", String(on));
          this.draw();
        };
        made.append(button);
      }
      return made;
    }

    async draw() {
      const library = await plotly(), style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
      const axis = { gridcolor: colour("--line"), linecolor: colour("--soft"), tickcolor: colour("--soft"), showline: true, ticks: "outside", ticklen: 3 };
      const layout = themed(this.spec.layout, style);
      for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) Object.assign(layout[key], axis);
      const shown = this.spec.data.map(trace => ({ ...themed(trace, style), showlegend: false, visible: !this.off.has(trace.legendgroup) }));
      await library.react(this.box, shown, {
        ...layout, barmode: "overlay", hovermode: "closest", dragmode: TOUCHED ? false : "zoom", autosize: true, showlegend: false,
        margin: { l: 6, r: 6, t: 4, b: 4 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--ink") },
        hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink"), size: 13 }, align: "left", namelength: -1 },
      }, { responsive: true, displaylogo: false, displayModeBar: false, showTips: false,
        doubleClick: "reset" });
      this.box.dataset.ready = "true";
    }
  }

  for (const [name, spec] of Object.entries(plots)) {
    const figure = document.getElementById(`figure-${name}`);
    if (!figure) continue;
    const plot = new Plot(figure, spec);
    whenNear(plot.live, () => plot.draw().catch(error => {
      figure.classList.remove("plotted");
      unfolded(plot.still);
      plot.live.remove();
      throw error;
    }));
  }
})();
