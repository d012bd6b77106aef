"use strict";
document.body.classList.add("ready");

// Pictures: each film shows its latest picture up to the slider's place.
const slider = document.getElementById("time");
function show() {
  document.querySelector(".slider output").textContent = Number(slider.value).toLocaleString("en");
  for (const film of document.querySelectorAll(".film")) {
    const frames = [...film.querySelectorAll("figure[data-kimg]")];
    let chosen = frames[0];
    for (const frame of frames) if (Number(frame.dataset.kimg) <= Number(slider.value)) chosen = frame;
    for (const frame of frames) frame.classList.toggle("on", frame === chosen);
  }
}
if (slider) {
  slider.addEventListener("input", show);
  show();
}

// Charts: the numbers under the pointer, in all lines of a chart.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
function number(value) {
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e6 || size === 0 ? String(+value.toPrecision(4)) : value.toExponential(2);
}
for (const chart of document.querySelectorAll(".chart")) {
  const plot = chart.querySelector(".plot"), cursor = chart.querySelector(".cursor");
  const numbers = JSON.parse(chart.querySelector(".data").textContent);
  const [low, high] = numbers.x;
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = low + (high - low) * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    let nearest = null;
    const words = numbers.lines.map((line) => {
      const point = line.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
      if (nearest === null || Math.abs(point[0] - x) < Math.abs(nearest - x)) nearest = point[0];
      return `${line.name}: ${number(point[1])}`;
    });
    cursor.style.display = "block";
    cursor.style.left = `${(nearest - low) / (high - low) * 100}%`;
    tip.textContent = [`${number(nearest)} thousand images`, ...words].join("\n");
    tip.hidden = false;
    const width = tip.offsetWidth, right = event.clientX + 14 + width < window.innerWidth;
    tip.style.left = `${right ? event.clientX + 14 : Math.max(event.clientX - 14 - width, 4)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
  });
  plot.addEventListener("pointerleave", () => {
    cursor.style.display = "none";
    tip.hidden = true;
  });
}
