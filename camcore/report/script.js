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
