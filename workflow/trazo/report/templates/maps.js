// Interactive maps: point at an item, touch it or go to it with the arrow keys for its picture; classes on and off.
// Everything shown is in #map-data, which report/explorer.py describes. Without this script the still pictures stand.
(() => {
  "use strict";
  const holder = document.getElementById("map-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const COLOURS = 8, DEEPEST = 40, NEAR = { mouse: 14, touch: 26 };
  // Markers in the order of the still picture's, of radius 1.
  const SHAPES = [
    "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z", "M-.88-.88H.88V.88H-.88Z", "M0-1.1L1.1.85H-1.1Z",
    "M0-1.2L1.2 0L0 1.2L-1.2 0Z", "M0 1.1L1.1-.85H-1.1Z", "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
  ];
  const paths = SHAPES.map(shape => new Path2D(shape));
  const shapeOf = index => Math.floor(index / COLOURS) % SHAPES.length;
  const colourOf = index => `--c${index % COLOURS + 1}`;

  class Explorer {
    constructor(figure, spec) {
      this.spec = spec;
      this.on = spec.classes.map(() => true);
      this.active = null;  // {panel, item}: the item shown, and the panel it was found in
      this.panels = spec.panels.map(panel => new Panel(this, panel));
      this.thumb = element("i", { className: "map-thumb" });
      this.what = element("b");
      this.id = element("span");
      this.card = element("div", { className: "map-card", role: "status", hidden: true }, this.thumb, this.what, this.id);
      this.still = figure.querySelector(".scroll");
      const grid = element("div", { className: "map-panels" }, ...this.panels.map(panel => panel.box));
      grid.style.setProperty("--columns", spec.columns);
      this.live = element("div", { className: "map-live" }, this.legend(), grid, this.card, element("p", { className: "under" },
        "Point at an item, touch it, or focus a map and use the arrow keys. Click a class to hide it or show it again; " +
        "double-click it (or hold Shift) for it alone. + and − zoom, as Ctrl and the wheel do; drag to move."));
      figure.prepend(this.live);
      figure.classList.add("explored");
      const watch = new ResizeObserver(() => this.draw());
      this.panels.forEach(panel => watch.observe(panel.canvas));
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    legend() {
      const choose = (name, value) => element("button", { type: "button", className: "map-all", textContent: name,
        onclick: () => this.show(this.on.map(() => value)) });
      this.buttons = this.spec.classes.map((name, index) => {
        const button = element("button", { type: "button", "aria-pressed": "true" });
        button.innerHTML = `<svg viewBox="-1.4 -1.4 2.8 2.8" aria-hidden="true"><path d="${SHAPES[shapeOf(index)]}" ` +
          `fill="var(${colourOf(index)})"/></svg>`;
        button.append(name);
        button.onclick = event => event.shiftKey ? this.only(index) : this.toggle(index);
        button.ondblclick = () => this.only(index);
        return button;
      });
      return element("div", { className: "map-legend", role: "group", "aria-label": "Classes shown" },
        choose("All", true), choose("None", false), ...this.buttons);
    }

    toggle(index) { this.show(this.on.map((on, i) => i === index ? !on : on)); }

    only(index) {
      const alone = this.on.every((on, i) => on === (i === index));
      this.show(this.on.map((_, i) => alone || i === index));
    }

    show(on) {
      this.on = on;
      this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(on[index])));
      if (this.active && !this.active.panel.visible(this.active.panel.indexOf(this.active.item))) this.active = null;
      this.draw();
    }

    activate(panel, index) {
      const item = index === null ? null : panel.itemOf(index);
      if (this.active ? this.active.item === item && this.active.panel === panel : item === null) return;
      this.active = item === null ? null : { panel, item };
      this.draw(false);
    }

    // `anew`: whether anything but the active item changed.
    draw(anew = true) {
      const style = getComputedStyle(document.documentElement);
      const colours = Array.from({ length: COLOURS }, (_, i) => style.getPropertyValue(colourOf(i)));
      const ink = style.getPropertyValue("--ink"), paper = style.getPropertyValue("--card");
      for (const panel of this.panels) {
        if (anew) panel.paint(colours);
        panel.draw(colours, ink, paper);
      }
      this.place();
    }

    // Fills the card with the active item and puts it beside its point.
    place() {
      this.card.hidden = !this.active;
      if (!this.active) return;
      const { panel, item } = this.active, set = panel.set;
      this.what.textContent = set.classes[set.labels[item]];
      this.id.textContent = set.ids[item];
      const row = set.rows ? set.rows[item] : item;
      this.thumb.hidden = !(set.pictured && pictures.show(this.thumb, panel.spec.set, row, 96));
      const [x, y] = panel.at(panel.indexOf(item));
      const all = this.live.getBoundingClientRect(), own = panel.canvas.getBoundingClientRect();
      const left = own.left - all.left + x, top = own.top - all.top + y, width = this.card.offsetWidth;
      const beside = left + 14 + width <= all.width ? left + 14 : Math.max(0, left - 14 - width);
      this.card.style.left = `${beside}px`;
      this.card.style.top = `${Math.max(0, top - this.card.offsetHeight / 2)}px`;
    }
  }

  class Panel {
    constructor(explorer, spec) {
      this.explorer = explorer;
      this.spec = spec;
      this.set = data.sets[spec.set];
      this.count = spec.points.length / 2;
      const classes = this.set.classes.map(name => explorer.spec.classes.indexOf(name));
      this.classes = Array.from({ length: this.count }, (_, i) => classes[this.set.labels[this.itemOf(i)]]);
      this.places = spec.items && new Map(spec.items.map((item, index) => [item, index]));
      // Neighbours in the list are of one class: mixed, none covers all others.
      const mixed = Array.from({ length: this.count }, (_, i) => i * 0.6180339887498949 % 1);
      this.order = Array.from(mixed.keys()).sort((a, b) => mixed[a] - mixed[b]);
      this.view = { scale: 1, x: 0, y: 0 };
      this.painted = document.createElement("canvas");
      this.canvas = element("canvas", { tabIndex: 0, role: "application",
        "aria-label": `${spec.words} Arrow keys go from item to item, Escape leaves, plus and minus zoom.` });
      const tool = (sign, name, act) => element("button", { type: "button", textContent: sign, title: name,
        "aria-label": `${name}: ${spec.title}`, onclick: act });
      const tools = element("div", { className: "map-tools" }, tool("+", "Zoom in", () => this.zoom(1.6)),
        tool("−", "Zoom out", () => this.zoom(1 / 1.6)), tool("⤢", "Whole map", () => this.zoom(0)));
      this.box = element("div", { className: "map-panel" }, element("h4", { textContent: spec.title }),
        element("div", { className: "map-frame" }, this.canvas, tools), element("p", { textContent: spec.quality.join("\n") }));
      this.listen();
    }

    itemOf(index) { return this.spec.items ? this.spec.items[index] : index; }
    indexOf(item) { return this.places ? this.places.get(item) ?? null : item; }
    visible(index) { return index !== null && this.explorer.on[this.classes[index]]; }

    // Where a point is on the canvas, in CSS pixels.
    at(index) {
      const { scale, x, y } = this.view, points = this.spec.points, side = this.side;
      return [(points[2 * index] / data.grid * scale + x) * side, (points[2 * index + 1] / data.grid * scale + y) * side];
    }

    nearest(x, y, within) {
      let best = null, least = within * within;
      for (let i = 0; i < this.count; i++) {
        if (!this.visible(i)) continue;
        const [px, py] = this.at(i), far = (px - x) ** 2 + (py - y) ** 2;
        if (far <= least) [best, least] = [i, far];
      }
      return best;
    }

    // The nearest point in a direction, within 45 degrees of it.
    next(from, dx, dy) {
      const [x, y] = this.at(from);
      let best = null, least = Infinity;
      for (let i = 0; i < this.count; i++) {
        if (i === from || !this.visible(i)) continue;
        const [px, py] = this.at(i), ahead = (px - x) * dx + (py - y) * dy, aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
        const far = ahead * ahead + aside * aside;
        if (ahead > 0 && aside <= ahead && far < least) [best, least] = [i, far];
      }
      return best;
    }

    zoom(factor, x = 0.5, y = 0.5) {
      const scale = Math.min(DEEPEST, Math.max(1, this.view.scale * factor)), grown = scale / this.view.scale;
      this.move({ scale, x: x - (x - this.view.x) * grown, y: y - (y - this.view.y) * grown });
    }

    move({ scale, x, y }) {
      const held = value => Math.min(0, Math.max(1 - scale, value));
      this.view = { scale, x: held(x), y: held(y) };
      // A whole map lets a finger scroll the page; a zoomed one follows the finger.
      this.canvas.style.touchAction = scale > 1 ? "none" : "";
      this.explorer.draw();
    }

    listen() {
      const { canvas, explorer } = this;
      let held = null;
      const inside = event => [event.offsetX, event.offsetY];
      const find = event => explorer.activate(this, this.nearest(...inside(event), NEAR[event.pointerType] ?? NEAR.mouse));
      canvas.onpointerdown = event => {
        held = { at: inside(event), view: this.view };
        if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
        find(event);
      };
      canvas.onpointermove = event => {
        if (!held || this.view.scale === 1) return find(event);
        const [x, y] = inside(event), side = this.side;
        this.move({ ...held.view, x: held.view.x + (x - held.at[0]) / side, y: held.view.y + (y - held.at[1]) / side });
      };
      canvas.onpointerup = canvas.onpointercancel = () => { held = null; };
      canvas.onpointerleave = event => { if (event.pointerType === "mouse") explorer.activate(this, null); };
      canvas.onblur = () => explorer.activate(this, null);
      canvas.addEventListener("wheel", event => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 200), ...inside(event).map(value => value / this.side));
      }, { passive: false });
      canvas.onkeydown = event => this.key(event);
    }

    key(event) {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const active = this.explorer.active?.panel === this ? this.indexOf(this.explorer.active.item) : null;
      const centre = active === null ? [] : this.at(active).map(value => value / this.side);
      if (event.key in steps) {
        const found = active === null ? this.nearest(this.side / 2, this.side / 2, Infinity) : this.next(active, ...steps[event.key]);
        if (found !== null) this.explorer.activate(this, found);
      } else if (event.key === "Escape") this.explorer.activate(this, null);
      else if (event.key === "+" || event.key === "=") this.zoom(1.6, ...centre);
      else if (event.key === "-") this.zoom(1 / 1.6, ...centre);
      else if (event.key === "0") this.zoom(0);
      else return;
      event.preventDefault();
    }

    get radius() {
      return Math.min(5, Math.max(2, this.side / 8 / Math.sqrt(this.count))) * Math.min(1.6, this.view.scale ** 0.25);
    }

    mark(context, colours, index, radius) {
      const [x, y] = this.at(index), { side, ratio } = this, own = this.classes[index];
      if (x < -9 || y < -9 || x > side + 9 || y > side + 9) return;
      context.setTransform(radius * ratio, 0, 0, radius * ratio, x * ratio, y * ratio);
      context.fillStyle = colours[own % COLOURS];
      context.fill(paths[shapeOf(own)]);
    }

    // Paints all points where nobody looks: following the pointer then costs a copy, not thousands of points.
    paint(colours) {
      const { canvas, painted } = this;
      this.side = canvas.clientWidth;
      this.ratio = devicePixelRatio || 1;
      canvas.width = canvas.height = painted.width = painted.height = Math.round(this.side * this.ratio);
      const context = painted.getContext("2d");
      context.globalAlpha = 0.85;
      for (const index of this.order) if (this.visible(index)) this.mark(context, colours, index, this.radius);
    }

    draw(colours, ink, paper) {
      const { canvas, painted, ratio, radius } = this, context = canvas.getContext("2d");
      if (!canvas.width) return;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(painted, 0, 0);
      const active = this.explorer.active, shown = active && active.panel.set === this.set ? this.indexOf(active.item) : null;
      if (!this.visible(shown)) return;
      const [x, y] = this.at(shown);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      for (const [style, width] of [[paper, 5], [ink, 2]]) {
        context.beginPath();
        context.arc(x, y, radius + 4, 0, 7);
        Object.assign(context, { strokeStyle: style, lineWidth: width });
        context.stroke();
      }
      this.mark(context, colours, shown, radius * 1.3);
    }
  }

  for (const [name, spec] of Object.entries(data.figures)) {
    const figure = document.getElementById(`figure-${name}`);
    if (figure) new Explorer(figure, spec).draw();
  }
})();
