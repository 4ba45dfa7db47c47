"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const cells = all(".cell");
const photos = all(".photo");
const list = byId("photos");

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
  let held = false;
  const follow = (event) => {
    if (!held) return;
    const box = picture.getBoundingClientRect();
    show(cell, Math.round((100 * (event.clientX - box.left)) / box.width));
  };
  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = true;
    picture.setPointerCapture(event.pointerId);
    follow(event);
  });
  picture.addEventListener("pointermove", follow);
  picture.addEventListener("pointerup", (event) => {
    follow(event);
    held = false;
  });
  picture.addEventListener("pointercancel", () => { held = false; });
}

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
    const named = photo.dataset.name.toLowerCase().includes(wanted);
    photo.hidden = !named || all(".cell:not([hidden])", photo).length === 0;
  }
  const shown = all(".photo:not([hidden]) .cell:not([hidden])").length;
  byId("status").textContent = `${shown} of ${cells.length} maps shown`;
}

const orders = {
  given: (a, b) => a.dataset.index - b.dataset.index,
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
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
