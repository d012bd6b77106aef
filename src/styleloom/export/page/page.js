// The controls of the page. What they say is kept in the address, so that a link brings back the picture.

import { load } from "./model.js";

const at = (id) => document.getElementById(id);
const status = (text, wrong = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
};
const FIELDS = ["seed", "class", "psi", "second", "mix"];

let model, drawing = false, asked = false;

function prepare() {
  const { about } = model, styles = about.space === "w", [height, width] = about.size;
  document.title = at("title").textContent = about.title;
  Object.assign(at("image"), { width, height });
  at("image").classList.toggle("small", width < 200);
  at("psi-row").hidden = !about.truncated.some(Boolean);
  at("class-row").hidden = !about.classes;
  for (const row of document.querySelectorAll(".mixing")) row.hidden = !styles || about.num_ws < 2;
  for (let i = 0; i < about.classes; i++) at("class").add(new Option(i, i));
  at("mix").add(new Option("none", "0-0"));
  for (const { name, from, to } of about.mixes) at("mix").add(new Option(name, `${from}-${to}`));
  const given = new URLSearchParams(location.hash.slice(1));
  for (const field of FIELDS) if (given.has(field)) at(field).value = given.get(field);
}

function wanted() {
  const whole = (id) => Math.min(Math.max(Math.trunc(Number(at(id).value)) || 0, 0), 4294967295);
  const [from, to] = (at("mix").value || "0-0").split("-").map(Number);
  return {
    seed: whole("seed"), second: whole("second"), label: Number(at("class").value) || 0,
    psi: Number(at("psi").value), from, to,
  };
}

async function draw() {
  asked = true;
  if (drawing) return; // the last wish is drawn when this one is done
  drawing = true;
  try {
    while (asked) {
      asked = false;
      at("psi-value").textContent = Number(at("psi").value).toFixed(2);
      const start = performance.now(), what = wanted(), canvas = at("image");
      canvas.getContext("2d").putImageData(await model.image(what), 0, 0);
      at("save").href = canvas.toDataURL("image/png");
      at("save").download = `seed${String(what.seed).padStart(4, "0")}.png`;
      history.replaceState(null, "", "#" + new URLSearchParams(FIELDS.map((f) => [f, at(f).value])));
      canvas.dataset.drawn = JSON.stringify(what);
      status(`${Math.round(performance.now() - start)} ms`);
    }
  } catch (error) {
    status(String(error), true);
  }
  drawing = false;
}

function step(by) {
  at("seed").value = Math.max(0, (Math.trunc(Number(at("seed").value)) || 0) + by);
  draw();
}

try {
  model = await load();
  prepare();
  at("controls").addEventListener("input", draw);
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("any").addEventListener("click", () => { at("seed").value = Math.floor(Math.random() * 4294967296); draw(); });
  await draw();
} catch (error) {
  status(location.protocol === "file:" ? "Open this folder from a web server: python -m http.server" : String(error), true);
}
