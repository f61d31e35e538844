// Draw, and see what each method finds while you draw. What can be chosen is in #data, which server.py describes.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = id => document.getElementById(id);
  const SIDE = 255;          // drawings are kept in the coordinates of Quick, Draw!
  const PEN = 3 / 256;       // of the paper's side, as the studies draw
  const PAUSE = 60;          // ms between searches while the pen is down
  const FIELDS = { model: "Network", trained: "Training", retrieval: "Retrieval", reducer: "Reducer", distance: "Distance" };

  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in made) made[name] = value; else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  // Paper ------------------------------------------------------------------------------------------------------------

  const canvas = at("canvas"), pen = canvas.getContext("2d");
  let strokes = [];          // each [[x, …], [y, …]]
  let drawing = null;        // the pointer that draws
  let shown = null;          // the picture of an image or item that was searched with, in place of strokes

  function paint() {
    const side = canvas.width;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, side, side);
    if (shown) {
      const scale = side / Math.max(shown.naturalWidth, shown.naturalHeight);
      const width = shown.naturalWidth * scale, height = shown.naturalHeight * scale;
      pen.drawImage(shown, (side - width) / 2, (side - height) / 2, width, height);
    }
    const unit = side / SIDE;
    pen.lineWidth = Math.max(2, PEN * side);
    pen.lineCap = pen.lineJoin = "round";
    pen.strokeStyle = "#000";
    for (const [xs, ys] of strokes) {
      pen.beginPath();
      pen.moveTo(xs[0] * unit, ys[0] * unit);
      // A line of no length is a dot.
      for (let i = Math.min(1, xs.length - 1); i < xs.length; i++) pen.lineTo(xs[i] * unit, ys[i] * unit);
      pen.stroke();
    }
    at("hint").hidden = strokes.length > 0 || shown !== null;
    at("undo").disabled = strokes.length === 0;
    at("clear").disabled = strokes.length === 0 && shown === null;
  }

  function fit() {
    const side = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    if (canvas.width !== side) canvas.width = canvas.height = side;
    paint();
  }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    const along = (value, low, length) => Math.round(Math.min(Math.max((value - low) / length, 0), 1) * SIDE * 100) / 100;
    return [along(event.clientX, box.left, box.width), along(event.clientY, box.top, box.height)];
  }

  function add(event) {
    const [xs, ys] = strokes[strokes.length - 1];
    const several = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of several.length ? several : [event]) {
      const [x, y] = point(each);
      if (x !== xs[xs.length - 1] || y !== ys[ys.length - 1]) { xs.push(x); ys.push(y); }
    }
  }

  canvas.addEventListener("pointerdown", event => {
    if (drawing !== null || (event.pointerType === "mouse" && event.button !== 0)) return;
    event.preventDefault();
    drawing = event.pointerId;
    canvas.setPointerCapture(drawing);
    shown = null;
    const [x, y] = point(event);
    strokes.push([[x], [y]]);
    paint();
  });
  canvas.addEventListener("pointermove", event => {
    if (event.pointerId !== drawing) return;
    add(event);
    paint();
    searchDrawing();
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, event => {
      if (event.pointerId !== drawing) return;
      drawing = null;
      performance.mark("pen-up");
      searchDrawing();
      wake();
    });
  }

  function undo() {
    strokes.pop();
    paint();
    if (strokes.length) searchDrawing(); else forget();
  }

  function clear() {
    strokes = [];
    shown = null;
    paint();
    forget();
  }

  at("undo").onclick = undo;
  at("clear").onclick = clear;
  document.addEventListener("keydown", event => {
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && event.target.tagName !== "INPUT" && strokes.length) {
      event.preventDefault();
      undo();
    }
  });

  // Asking -----------------------------------------------------------------------------------------------------------

  let query = null;          // what was searched with last: {path, body, type, parameters}
  let waiting = false, running = false;
  let wake = () => {};       // ends a pause
  let turn = 0;              // answers to what was cleared or replaced meanwhile are not shown

  function searchDrawing() {
    query = { path: "api/drawing", type: "application/json", drawn: true };
    soon();
  }

  function soon() {
    waiting = true;
    if (!running) run();
  }

  // One request at a time: what is drawn while one is on its way goes with the next.
  async function run() {
    running = true;
    while (waiting) {
      waiting = false;
      if (query) await ask(query);
      if (drawing !== null) await new Promise(done => { wake = done; setTimeout(done, PAUSE); });
    }
    running = false;
  }

  async function ask(asked) {
    const mine = ++turn, whole = drawing === null;
    const parameters = new URLSearchParams(asked.parameters);
    for (const panel of panels) parameters.append("method", panel.method.name);
    parameters.append("top", at("top").value);
    const body = asked.drawn ? JSON.stringify({ strokes }) : asked.body;
    const busy = setTimeout(() => panels.forEach(panel => panel.box.setAttribute("aria-busy", "true")), 250);
    try {
      const begin = performance.now();
      const response = await fetch(`${asked.path}?${parameters}`, {
        method: "POST", body, headers: asked.type ? { "Content-Type": asked.type } : {},
      });
      const answer = await response.json();
      if (mine !== turn) return;
      if (!response.ok) { complain(answer.error); return; }
      await show(answer, asked, performance.now() - begin, whole);
    } catch (error) {
      if (mine === turn) complain("The search does not answer. Is its command still running?");
    } finally {
      clearTimeout(busy);
      if (mine === turn) panels.forEach(panel => panel.box.removeAttribute("aria-busy"));
    }
  }

  async function show(answer, asked, milliseconds, whole) {
    complain("");
    const { name, label, picture, size } = answer.query;
    at("seen").hidden = false;
    at("picture").src = picture;
    at("query").textContent = asked.drawn ? "Your drawing" : label || name;
    at("sees").textContent = `${label && !asked.drawn ? `${name}, ` : ""}as the network sees it, ${size[0]} × ${size[1]} pixels`;
    const loaded = [];
    for (const found of answer.found) {
      for (const panel of panels) if (panel.method.name === found.method) loaded.push(...panel.show(found));
    }
    if (!asked.drawn) {
      const image = new Image();
      image.src = picture;
      await image.decode();
      if (query !== asked) return;
      strokes = [];
      shown = image;
      paint();
    }
    if (!whole) return;
    await Promise.all(loaded.map(image => image.decode().catch(() => {})));
    if (performance.getEntriesByName("pen-up").length) {
      performance.measure("answer", "pen-up");
      performance.clearMarks("pen-up");
    }
    at("status").textContent = answer.found.map(found => found.error || `${found.hits.length} found: ${counted(found.hits)}`).join(". ") +
      `, in ${Math.round(milliseconds)} milliseconds.`;
  }

  function complain(message) {
    at("trouble").textContent = message;
    at("trouble").hidden = !message;
  }

  function forget() {
    turn++;
    query = null;
    waiting = false;
    complain("");
    at("seen").hidden = true;
    at("status").textContent = "";
    panels.forEach(panel => panel.empty());
  }

  const counts = hits => {
    const found = new Map();
    for (const hit of hits) found.set(hit.label, (found.get(hit.label) || 0) + 1);
    return [...found].sort((one, other) => other[1] - one[1]);
  };
  const counted = hits => counts(hits).slice(0, 4).map(([label, count]) => `${count} ${label}`).join(", ");

  // Other queries ----------------------------------------------------------------------------------------------------

  function searchFile(file) {
    if (!file) return;
    if (file.size > data.most.bytes) {
      complain(`${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MB; expected an image of up to ${data.most.bytes / 2 ** 20} MB. Save it smaller.`);
      return;
    }
    query = { path: "api/image", body: file, type: "application/octet-stream", parameters: { name: file.name } };
    soon();
  }

  at("file").onchange = event => {
    searchFile(event.target.files[0]);
    // The same file, chosen again, is to be searched again.
    event.target.value = "";
  };
  at("any").onclick = () => {
    query = { path: "api/item" };
    soon();
  };
  at("key-form").onsubmit = event => {
    event.preventDefault();
    query = { path: "api/key", parameters: { key: at("key").value } };
    soon();
  };
  const paper = at("paper");
  let over = 0;
  document.addEventListener("dragenter", event => { event.preventDefault(); over++; paper.classList.add("dropping"); });
  document.addEventListener("dragleave", () => { if (--over <= 0) { over = 0; paper.classList.remove("dropping"); } });
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    event.preventDefault();
    over = 0;
    paper.classList.remove("dropping");
    searchFile(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", event => searchFile(event.clipboardData.files[0]));

  // Methods ----------------------------------------------------------------------------------------------------------

  const able = data.methods.filter(method => !method.lacking);
  const panels = [];

  class Panel {
    constructor(method) {
      this.method = method;
      this.choices = element("div", { className: "choices" });
      this.told = element("p", { className: "told" });
      this.hits = element("ol", { className: "hits" });
      this.box = element("section", { className: "panel" }, this.choices, this.told, this.hits);
      this.choose();
      this.empty();
    }

    // A choice of each field, of those methods that agree in the fields before it.
    choose() {
      const name = [this.method.model, this.method.trained, this.method.reducer, this.method.distance].join(", ");
      this.box.setAttribute("aria-label", name);
      let fitting = data.methods;
      const fields = [];
      for (const [field, title] of Object.entries(FIELDS)) {
        const values = [...new Set(fitting.map(method => method[field]))];
        const everywhere = new Set(data.methods.map(method => method[field]));
        if (values.length > 1) {
          const select = element("select", { onchange: event => this.change(field, event.target.value) });
          for (const value of values) {
            const those = fitting.filter(method => method[field] === value);
            const lacking = those.every(method => method.lacking);
            select.append(element("option", { value, selected: value === this.method[field], disabled: lacking,
              title: lacking ? those[0].lacking : "", textContent: lacking ? `${value} (not here)` : value }));
          }
          fields.push(element("label", {}, title, select));
        } else if (everywhere.size > 1 || field === "model") {
          fields.push(element("label", {}, title, element("span", { className: "alone", textContent: values[0] })));
        }
        fitting = fitting.filter(method => method[field] === this.method[field]);
      }
      const remove = element("button", { type: "button", className: "remove", textContent: "Remove",
        onclick: () => removePanel(this), hidden: panels.length < 2 });
      remove.setAttribute("aria-label", `Remove ${name}`);
      this.remove = remove;
      this.choices.replaceChildren(...fields, remove);
    }

    // The method with that value that agrees in most other fields, the earlier ones first.
    change(field, value) {
      const names = Object.keys(FIELDS), place = names.indexOf(field);
      const fits = able.filter(method => method[field] === value &&
        names.slice(0, place).every(name => method[name] === this.method[name]));
      const likeness = method => names.reduce((sum, name) => 2 * sum + (method[name] === this.method[name]), 0);
      this.method = fits.reduce((one, other) => likeness(other) > likeness(one) ? other : one);
      this.choose();
      this.choices.querySelectorAll("label").forEach(label => {
        if (label.firstChild.textContent === FIELDS[field]) label.querySelector("select")?.focus();
      });
      this.empty();
      soon();
    }

    // What is searched, and how well the study's own queries found.
    get about() {
      const { score, gallery, folds } = this.method;
      return `${gallery}${folds ? `, in ${folds} folds with reducers of their own` : ""}` +
        (score === null ? "" : ` · mAP ${(100 * score).toFixed(1)} %`);
    }

    empty() {
      this.told.textContent = this.about;
      this.hits.replaceChildren();
    }

    // Returns the images that are shown.
    show(found) {
      if (found.error) {
        this.told.replaceChildren(element("span", { className: "trouble", textContent: found.error }));
        this.hits.replaceChildren();
        return [];
      }
      const [first = ["nothing", 0], ...others] = counts(found.hits);
      const sum = Object.values(found.milliseconds).reduce((one, other) => one + other, 0);
      const times = Object.entries(found.milliseconds).filter(([, value]) => value >= 0.05)
        .map(([part, value]) => `${part} ${value.toFixed(1)}`).join(", ");
      const told = [element("b", { textContent: `${first[1]} ${first[0]}` })];
      told.push(others.slice(0, 4).map(([label, count]) => ` · ${count} ${label}`).join("") + (others.length > 4 ? " · …" : ""));
      if (found.guesses.length) {
        const guesses = found.guesses.filter(guess => guess.probability >= 0.005 || guess === found.guesses[0]);
        told.push(" — classified as ", guesses.map(guess => `${guess.label} ${Math.round(100 * guess.probability)} %`).join(", "));
      }
      told.push(element("br"), `${sum.toFixed(1)} ms a query${times ? ` (${times})` : ""} · ${this.about}`);
      this.told.replaceChildren(...told);
      while (this.hits.children.length > found.hits.length) this.hits.lastChild.remove();
      return found.hits.map((hit, place) => {
        // Elements stay where they are: new ones would flicker while one draws.
        const item = this.hits.children[place] || this.hits.appendChild(
          element("li", {}, element("img", { alt: "" }), element("b"), element("span")));
        const [image, label, distance] = item.children;
        item.className = hit.right === null ? "" : hit.right ? "right" : "wrong";
        item.title = hit.id;
        if (image.getAttribute("src") !== hit.thumb) image.src = hit.thumb;
        label.textContent = (hit.right === null ? "" : hit.right ? "✓ " : "✗ ") + hit.label;
        distance.textContent = hit.distance === null ? "∞" : Number(hit.distance.toPrecision(3));
        return image;
      });
    }
  }

  function addPanel(method) {
    const panel = new Panel(method);
    panels.push(panel);
    at("panels").append(panel.box);
    panels.forEach(each => { each.remove.hidden = panels.length < 2; });
    at("add").hidden = panels.length >= Math.min(data.most.methods, able.length);
    return panel;
  }

  function removePanel(panel) {
    panels.splice(panels.indexOf(panel), 1);
    panel.box.remove();
    panels.forEach(each => { each.remove.hidden = panels.length < 2; });
    at("add").hidden = false;
    at("add").focus();
  }

  at("add").onclick = () => {
    const last = panels[panels.length - 1].method;
    const taken = new Set(panels.map(panel => panel.method.name));
    // One that differs, as far as there is one, in the network or its training: distances of one network find much the same.
    const left = able.filter(method => !taken.has(method.name));
    const other = left.find(method => method.model !== last.model && method.retrieval === last.retrieval) ||
      left.find(method => method.trained !== last.trained && method.distance === last.distance) || left[0];
    const panel = addPanel(other);
    (panel.choices.querySelector("select") || panel.remove).focus();
    soon();
  };
  at("top").onchange = soon;

  addPanel(data.methods.find(method => method.name === data.best));
  new ResizeObserver(fit).observe(canvas);
  fit();
})();
