"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const cells = all(".cell");
const photos = all(".photo");
const list = byId("photos");
const large = byId("large");

function show(cell, value) {
  const slider = cell.querySelector(".slider");
  slider.value = value;
  slider.setAttribute("aria-valuetext", `${slider.value} percent overlay`);
  cell.style.setProperty("--shown", slider.value);
}

for (const cell of cells) {
  const slider = cell.querySelector(".slider");
  const picture = cell.querySelector(".picture");
  slider.hidden = false;
  show(cell, slider.value);
  slider.addEventListener("input", () => show(cell, slider.value));
  picture.tabIndex = 0;
  picture.setAttribute("role", "button");
  picture.setAttribute("aria-label", `Enlarge: ${picture.querySelector("img").alt}`);
  let held = null;
  const follow = (event) => {
    if (!held) return;
    const box = picture.getBoundingClientRect();
    held.moved ||= Math.abs(event.clientX - held.x) > 3;
    show(cell, Math.round((100 * (event.clientX - box.left)) / box.width));
  };
  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = { x: event.clientX, value: slider.value, moved: false };
    picture.setPointerCapture(event.pointerId);
    follow(event);
  });
  picture.addEventListener("pointermove", follow);
  // A drag moves the overlay; a click enlarges the picture, and leaves the overlay where it was.
  picture.addEventListener("pointerup", (event) => {
    if (!held) return;
    follow(event);
    if (!held.moved) {
      show(cell, held.value);
      enlarge(cell, picture);
    }
    held = null;
  });
  picture.addEventListener("pointercancel", () => { held = null; });
  picture.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    enlarge(cell, picture);
  });
}

function enlarge(cell, opener) {
  const photo = cell.closest(".photo");
  const overlay = cell.querySelector("img");
  const name = photo.dataset.name;
  const sources = {
    photograph: getComputedStyle(cell).getPropertyValue("--photo").slice(5, -2),
    map: cell.dataset.map,
    overlay: overlay.src,
  };
  byId("large-name").textContent = name;
  byId("large-about").textContent = overlay.alt;
  for (const view of all("[data-view]", large)) {
    const kind = view.dataset.view;
    const image = view.querySelector("img");
    image.src = sources[kind];
    image.alt = `${view.dataset.name}: ${kind === "photograph" ? name : overlay.alt}`;
    const link = view.querySelector("a");
    link.href = sources[kind];
    const ending = sources[kind].startsWith("data:image/png") ? "png" : "jpg";
    link.download = `${cell.dataset.file}-${view.dataset.name}.${ending}`;
  }
  large.addEventListener("close", () => opener.focus(), { once: true });
  large.showModal();
}

byId("close").addEventListener("click", () => large.close());
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

function filter() {
  const wanted = byId("find").value.trim().toLowerCase();
  const axes = all("fieldset[data-axis]").map((fieldset) => [
    fieldset.dataset.axis,
    new Set(all("input:checked", fieldset).map((box) => box.value)),
  ]);
  for (const cell of cells) {
    cell.hidden = !axes.every(([axis, values]) => values.has(cell.dataset[axis]));
  }
  for (const photo of photos) {
    const { name, class: explained } = photo.dataset;
    const named = `${name}\n${explained}`.toLowerCase().includes(wanted);
    photo.hidden = !named || all(".cell:not([hidden])", photo).length === 0;
  }
  const shown = all(".photo:not([hidden]) .cell:not([hidden])").length;
  byId("status").textContent = `${shown} of ${cells.length} maps shown`;
}

const text = (key) => (a, b) =>
  a.dataset[key].localeCompare(b.dataset[key], undefined, { numeric: true });
const orders = {
  given: (a, b) => a.dataset.index - b.dataset.index,
  name: text("name"),
  class: text("class"),
  probability: (a, b) => a.dataset.probability - b.dataset.probability,
  apart: (a, b) => b.dataset.apart - a.dataset.apart,
};

byId("find").addEventListener("input", filter);
byId("order").addEventListener("change", (event) => {
  list.append(...photos.sort(orders[event.target.value]));
});
byId("all").addEventListener("input", (event) => {
  for (const cell of cells) show(cell, event.target.value);
});
for (const box of all("fieldset[data-axis] input")) box.addEventListener("change", filter);
for (const way of all("input[name=way]")) {
  way.addEventListener("change", () => { list.className = way.value; });
}
list.className = document.querySelector("input[name=way]:checked").value;
document.querySelector(".controls").hidden = false;
filter();

const copy = byId("copy");
if (navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("call").textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(byId("call"));
      byId("copied").textContent = "Selected; press Ctrl+C to copy.";
    }
  });
}
// A link to a photograph that a filter hides shows it again.
addEventListener("hashchange", () => {
  const photo = document.querySelector(`${location.hash || "#maps"}.photo[hidden]`);
  if (!photo) return;
  byId("find").value = "";
  for (const box of all("fieldset[data-axis] input")) box.checked = true;
  filter();
  photo.scrollIntoView();
});

// The tab of metrics, where there is one.
const tabs = all("[role=tab]");
const parts = tabs.map((tab) => byId(tab.getAttribute("aria-controls")));

function select(index) {
  tabs.forEach((tab, i) => {
    tab.setAttribute("aria-selected", String(i === index));
    tab.tabIndex = i === index ? 0 : -1;
    parts[i].hidden = i !== index;
  });
}

// A link to what lies in the other tab opens that.
function reveal() {
  const there = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1)));
  const index = parts.findIndex((part) => there && part.contains(there));
  if (index < 0 || !parts[index].hidden) return;
  select(index);
  there.scrollIntoView();
}

if (tabs.length) {
  document.querySelector(".tabs").hidden = false;
  for (const part of parts) part.setAttribute("role", "tabpanel");
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => select(i));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : i + step;
      if (Number.isNaN(next)) return;
      event.preventDefault();
      const index = (next + tabs.length) % tabs.length;
      select(index);
      tabs[index].focus();
    });
  });
  select(0);
  addEventListener("hashchange", reveal);
  reveal();
}

const numbers = (text) => text.split(" ").map(Number);

// Show what was fed of one photograph: a frame of the chosen strip, and its place in the chart.
function feed(photo, at) {
  const row = byId("feed-row").value;
  const curve = byId("feed-curve").value;
  const strip = all(".strip", photo).find(
    ({ dataset }) => dataset.row === row && dataset.curve === curve,
  );
  const fractions = numbers(strip.dataset.fractions);
  const score = numbers(strip.dataset.scores)[at];
  const slider = photo.querySelector(".at");
  const image = photo.querySelector(".frame img");
  const source = strip.querySelector("img");
  slider.max = fractions.length - 1;
  slider.value = at;
  if (image.src !== source.src) image.src = source.src;
  image.style.setProperty("width", `${100 * fractions.length}%`);
  image.style.setProperty("transform", `translateX(${(-100 * at) / fractions.length}%)`);
  const share = `${Math.round(100 * fractions[at])} % ${strip.dataset.done}`;
  const said = `${share}: ${document.body.dataset.score} ${score.toPrecision(3)}`;
  const { textContent: name } = photo.querySelector("h3");
  image.alt = `${name}, ${share} by ${strip.dataset.label}`;
  photo.querySelector(".viewer figcaption").textContent = said;
  slider.setAttribute("aria-valuetext", said);
  for (const chart of all(".chart", photo)) {
    const here = chart.dataset.curve === curve;
    chart.classList.toggle("chosen", here);
    const line = chart.querySelector(".here");
    const [left, right] = document.body.dataset.across.split(" ").map(Number);
    for (const end of ["x1", "x2"]) {
      line.setAttribute(end, left + fractions[at] * (right - left));
    }
  }
}

const fed = all(".fed");
if (fed.length) {
  const last = (photo) => {
    const row = byId("feed-row").value;
    const curve = byId("feed-curve").value;
    const strip = all(".strip", photo).find(
      ({ dataset }) => dataset.row === row && dataset.curve === curve,
    );
    return numbers(strip.dataset.fractions).length - 1;
  };
  const feedAll = () => {
    const share = byId("feed-all").value / 100;
    for (const photo of fed) feed(photo, Math.round(share * last(photo)));
  };
  for (const photo of fed) {
    photo.querySelector(".viewer").hidden = false;
    photo.querySelector(".strips").hidden = true;
    const slider = photo.querySelector(".at");
    slider.addEventListener("input", () => feed(photo, Number(slider.value)));
  }
  for (const id of ["feed-row", "feed-curve"]) {
    byId(id).addEventListener("change", () => {
      for (const photo of fed) {
        const { value, max } = photo.querySelector(".at");
        feed(photo, Math.round((value / max) * last(photo)));
      }
    });
  }
  byId("feed-all").addEventListener("input", feedAll);
  byId("feed").hidden = false;
  feedAll();
}
