// Thumbnails of items, and what else the page's scripts share. Sheets of thumbnails are text in the page; one is
// unpacked when a picture of it is first shown. report/thumbnails.py makes them.
const pictures = (() => {
  "use strict";
  const holder = document.getElementById("picture-data");
  const splits = holder ? JSON.parse(holder.textContent) : {};
  const addresses = new Map();

  function tileOf(reference, row) {
    const split = splits[reference];
    if (!split) return -1;
    if (!split.rows) return row < split.count ? row : -1;
    split.places ??= new Map(split.rows.map((own, place) => [own, place]));
    return split.places.get(row) ?? -1;
  }

  function address(id) {
    if (!addresses.has(id)) {
      const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), c => c.charCodeAt(0));
      addresses.set(id, URL.createObjectURL(new Blob([bytes], { type: "image/webp" })));
    }
    return addresses.get(id);
  }

  return {
    has: (reference, row) => tileOf(reference, row) >= 0,
    // Shows an item's picture as the background of a box, `side` pixels wide; returns whether there is one.
    show(box, reference, row, side) {
      const tile = tileOf(reference, row);
      if (tile < 0) return false;
      const { id, across, each, count } = splits[reference], sheet = Math.floor(tile / each), place = tile % each;
      const down = Math.ceil(Math.min(each, count - sheet * each) / across);
      Object.assign(box.style, {
        backgroundImage: `url(${address(`${id}-${sheet}`)})`,
        backgroundSize: `${side * across}px ${side * down}px`,
        backgroundPosition: `${-side * (place % across)}px ${-side * Math.floor(place / across)}px`,
      });
      return true;
    },
  };
})();

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Bytes that were packed by gzip and written in base64.
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.trim()), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// The still picture of a figure that scripts show better is text until it is looked at or printed: thousands of points
// would be read for nothing.
function unfolded(still) {
  const folded = still.querySelector("noscript");
  if (folded) still.innerHTML = folded.textContent;
}

function unfoldAll() {
  for (const folded of document.querySelectorAll("figure noscript")) unfolded(folded.parentElement);
}

// Calls a function once, when a part of the page is about to come into view.
function whenNear(part, act) {
  const watch = new IntersectionObserver(seen => {
    if (!seen.some(one => one.isIntersecting)) return;
    watch.disconnect();
    act();
  }, { rootMargin: "800px 0px" });
  watch.observe(part);
}
