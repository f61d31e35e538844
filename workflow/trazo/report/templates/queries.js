// The query browser: choose a class or a query, and see what every method finds for it, side by side.
// Everything shown is in #query-data, which report/queries.py describes; it is unpacked when the section comes near.
(() => {
  "use strict";
  const holder = document.getElementById("query-data"), root = document.getElementById("browser");
  if (!holder || !root) return;
  const NONE = 65535, NONE_WIDE = 4294967295, SIDE = 64, LARGE = 112, FIRST_SHOWN = 4;
  const RIGHT = "\u2713", WRONG = "\u2717";
  const ORDERS = [["hard", "hardest first"], ["easy", "easiest first"], ["differ", "where two methods differ most"], ["given", "as they come"]];
  let data = null, turn = 0;
  const state = { retrieval: 0, label: "", order: "hard", one: 0, other: 1, page: 0, query: null, shown: null };

  async function opened(spec) {
    if (spec.opened) return spec.opened;
    const half = async text => new Uint16Array(await unpacked(text));
    const full = async text => new Uint32Array(await unpacked(text));
    const items = async part => ({
      of: part.of, ids: part.ids, labels: await half(part.labels),
      rows: part.rows && await full(part.rows), objects: part.objects && await full(part.objects),
    });
    const methods = spec.methods.map(async own => ({
      ...own, scores: await half(own.scores), steps: await half(own.distances),
      items: own.wide ? await full(own.items) : await half(own.items),
    }));
    const [queries, gallery] = [await items(spec.queries), await items(spec.gallery)];
    const made = { ...spec, queries, gallery, relevant: await full(spec.relevant), methods: await Promise.all(methods) };
    made.count = queries.labels.length;
    const rowOf = (part, place) => part.rows ? part.rows[place] : place;
    made.queryRow = query => rowOf(queries, query);
    made.itemRow = item => rowOf(gallery, item);
    const places = new Map(Array.from(gallery.labels, (_, item) => [made.itemRow(item), item]));
    made.queryName = query => queries.ids ? queries.ids[query] : gallery.ids[places.get(made.queryRow(query))];
    const byRow = new Map(Array.from(queries.labels, (_, query) => [made.queryRow(query), query]));
    made.asQuery = item => spec.same ? byRow.get(made.itemRow(item)) ?? null : null;
    made.right = (query, item) => queries.objects ? queries.objects[query] === gallery.objects[item]
      : queries.labels[query] === gallery.labels[item];
    spec.opened = made;
    return made;
  }

  const scoreOf = (method, query) => method.scores[query] === NONE ? null : method.scores[query] / 10000;
  const percent = value => value === null ? "\u2013" : `${(100 * value).toFixed(1)} %`;
  const distanceOf = (method, at) => {
    if (method.steps[at] === NONE) return "";
    const value = method.low + method.step * method.steps[at];
    return method.whole ? String(value) : value.toPrecision(3);
  };

  // The mean over the methods shown, null where none has a score. Only one metric is averaged: average precision, if any
  // method has it (rankers that keep the nearest items only have none).
  function meanScore(spec, query) {
    const judge = spec.methods.some(own => own.metric === "AP") ? "AP" : spec.methods[0].metric;
    const judged = (own, place) => state.shown.has(place) && own.metric === judge;
    const scores = spec.methods.filter(judged).map(own => scoreOf(own, query)).filter(s => s !== null);
    return scores.length ? scores.reduce((sum, s) => sum + s, 0) / scores.length : null;
  }

  function difference(spec, query) {
    const [one, other] = [state.one, state.other].map(place => scoreOf(spec.methods[place], query));
    return one === null || other === null ? null : one - other;
  }

  function ordered(spec) {
    const found = [];
    for (let query = 0; query < spec.count; query++) {
      if (state.label === "" || spec.queries.labels[query] === Number(state.label)) found.push(query);
    }
    if (state.order === "given") return found;
    const key = query => {
      const value = state.order === "differ" ? difference(spec, query) : meanScore(spec, query);
      if (value === null) return Infinity;
      return state.order === "differ" ? -Math.abs(value) : state.order === "easy" ? -value : value;
    };
    const keys = new Map(found.map(query => [query, key(query)]));
    return found.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
  }

  function chooser(name, entries, value, act) {
    const select = element("select", {}, ...entries.map(([own, words]) => element("option", { value: own, textContent: words })));
    select.value = value;
    select.onchange = () => act(select.value);
    return element("label", {}, `${name} `, select);
  }

  function thumb(spec, part, row, side, name) {
    const box = element("i", { className: "q-thumb" });
    box.style.width = box.style.height = `${side}px`;
    if (!pictures.show(box, part.of, row, side)) box.append(element("span", { textContent: name }));
    return box;
  }

  const fitting = () => innerWidth < 640 ? 12 : 28;

  function controls(spec) {
    const parts = [];
    if (data.length > 1) {
      parts.push(chooser("Retrieval", data.map((own, place) => [String(place), own.name]), String(state.retrieval), value => {
        Object.assign(state, { retrieval: Number(value), label: "", page: 0, query: null, shown: null, one: 0, other: 1 });
        show("retrieval");
      }));
    }
    const present = [...new Set(spec.queries.labels)].sort((a, b) => a - b);
    parts.push(chooser("Class", [["", `all ${present.length}`], ...present.map(own => [String(own), spec.classes[own]])], state.label,
      value => { Object.assign(state, { label: value, page: 0, query: null }); show("class"); }));
    const orders = spec.methods.length > 1 ? ORDERS : ORDERS.filter(([name]) => name !== "differ");
    parts.push(chooser("Queries", orders, state.order, value => { Object.assign(state, { order: value, page: 0, query: null }); show("order"); }));
    if (state.order === "differ") {
      const names = spec.methods.map((own, place) => [String(place), own.name]);
      for (const [side, words] of [["one", "of"], ["other", "and"]]) {
        parts.push(chooser(words, names, String(state[side]), value => {
          Object.assign(state, { [side]: Number(value), page: 0, query: null });
          state.shown.add(Number(value));
          show(side);
        }));
      }
    }
    return element("div", { className: "q-controls" }, ...parts.map((part, place) => {
      part.querySelector("select").dataset.focus = ["retrieval", "class", "order", "one", "other"][data.length > 1 ? place : place + 1];
      return part;
    }));
  }

  function told(spec, query) {
    if (state.order === "differ") {
      const value = difference(spec, query);
      return value === null ? "\u2013" : `${value >= 0 ? "+" : "\u2212"}${Math.abs(100 * value).toFixed(0)} pts`;
    }
    return percent(meanScore(spec, query)).replace(/\.\d/, "");
  }

  function chosen(spec, queries) {
    const each = fitting(), pages = Math.max(1, Math.ceil(queries.length / each));
    state.page = Math.min(state.page, pages - 1);
    const shown = queries.slice(state.page * each, (state.page + 1) * each);
    const list = element("ul", { className: "q-queries", "aria-label": "Queries" });
    list.onkeydown = event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], buttons = [...list.querySelectorAll("button")];
      const next = step && buttons[buttons.indexOf(document.activeElement) + step];
      if (!next) return;
      event.preventDefault();
      next.focus();
    };
    for (const query of shown) {
      const name = spec.classes[spec.queries.labels[query]];
      const button = element("button", { type: "button", "aria-pressed": String(query === state.query), title: spec.queryName(query),
        "aria-label": `${name}, ${spec.queryName(query)}, ${told(spec, query)}` },
        thumb(spec, spec.queries, spec.queryRow(query), 56, name), element("small", { textContent: told(spec, query) }));
      button.dataset.focus = `query-${query}`;
      button.onclick = () => { state.query = query; show(`query-${query}`); };
      list.append(element("li", {}, button));
    }
    const go = (words, step, name) => {
      const button = element("button", { type: "button", textContent: words, "aria-label": name,
        disabled: state.page + step < 0 || state.page + step >= pages });
      button.dataset.focus = name;
      button.onclick = () => { state.page += step; state.query = null; show(name); };
      return button;
    };
    const from = state.page * each;
    const place = queries.length ? `${from + 1}\u2013${from + shown.length} of ${queries.length}` : "none";
    return [list, element("div", { className: "q-pager" }, go("\u2190", -1, "Queries before"), element("span", { textContent: place }), go("\u2192", 1, "Queries after"))];
  }

  function chips(spec) {
    const group = element("div", { className: "q-methods", role: "group", "aria-label": "Methods shown" });
    spec.methods.forEach((own, place) => {
      const button = element("button", { type: "button", textContent: own.name, "aria-pressed": String(state.shown.has(place)) });
      button.dataset.focus = `method-${place}`;
      button.onclick = () => {
        if (!state.shown.delete(place)) state.shown.add(place);
        show(`method-${place}`);
      };
      group.append(button);
    });
    return group;
  }

  function ranked(spec, method, query) {
    const list = element("ol", { className: "q-list", "aria-label": `${method.name}: nearest first` });
    let right = 0, length = 0;
    for (let place = 0; place < method.width; place++) {
      const at = query * method.width + place, item = method.items[at];
      if (item === (method.wide ? NONE_WIDE : NONE)) continue;
      const good = spec.right(query, item), name = spec.classes[spec.gallery.labels[item]], distance = distanceOf(method, at);
      right += good;
      length += 1;
      const body = [thumb(spec, spec.gallery, spec.itemRow(item), SIDE, name),
        element("b", { textContent: `${good ? RIGHT : WRONG} ${name}` }), element("span", { textContent: distance })];
      const words = `${place + 1}: ${good ? "right" : "wrong"}, ${name}, ${spec.gallery.ids[item]}, distance ${distance}`;
      const next = spec.asQuery(item);
      const box = next === null ? element("div", { title: words }) : element("button", { type: "button", title: `${words}. Search for it.`, "aria-label": `${words}. Search for it.` });
      if (next !== null) box.onclick = () => { state.query = next; show("query"); };
      box.append(...body);
      list.append(element("li", { className: good ? "right" : "wrong" }, box));
    }
    const score = scoreOf(method, query);
    const head = element("p", { className: "q-head" }, element("b", { textContent: method.name }),
      element("span", { textContent: `${method.metric} ${percent(score)} \u00b7 ${right} of the nearest ${length} right` }));
    return element("div", { className: "q-ranked" }, head, length ? list : element("p", { className: "under", textContent: "Nothing was found." }));
  }

  async function show(focus = null) {
    const mine = ++turn, spec = await opened(data[state.retrieval]);
    if (mine !== turn) return;
    if (!state.shown) {
      state.shown = new Set(spec.methods.slice(0, FIRST_SHOWN).keys());
      state.other = Math.min(1, spec.methods.length - 1);
    }
    const queries = ordered(spec), parts = [controls(spec)];
    if (state.query === null) state.query = queries[Math.min(state.page * fitting(), Math.max(0, queries.length - 1))] ?? null;
    parts.push(...chosen(spec, queries));
    if (spec.methods.length > 1) parts.push(chips(spec));
    if (state.query !== null) {
      const name = spec.classes[spec.queries.labels[state.query]], id = spec.queryName(state.query);
      const large = thumb(spec, spec.queries, spec.queryRow(state.query), LARGE, name);
      const head = element("div", { className: "q-query", tabIndex: -1 }, large, element("p", {}, element("b", { textContent: name }), element("br"), id,
        element("br"), `${spec.relevant[state.query]} relevant items in the gallery`));
      head.dataset.focus = "query";
      const lists = spec.methods.filter((_, place) => state.shown.has(place)).map(own => ranked(spec, own, state.query));
      parts.push(head, ...lists);
    }
    const note = `Distances are below the names; framed and ticked is what is right. A query's number is ${state.order === "differ"
      ? "the first method's score minus the second's" : "its mean score over the methods shown"}.`;
    parts.push(element("p", { className: "under", textContent: [note, ...spec.left].join(" ") }));
    root.replaceChildren(...parts);
    root.dataset.ready = "true";
    if (focus) root.querySelector(`[data-focus="${focus}"]`)?.focus({ preventScroll: focus !== "query" });
  }

  whenNear(root, () => {
    if (typeof DecompressionStream === "undefined") {
      root.textContent = "This browser is too old to unpack the ranked lists; any of 2023 or later can.";
      return;
    }
    data = JSON.parse(holder.textContent);
    show();
  });
})();
