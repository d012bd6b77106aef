// A training in progress: pictures with a slider, curves as SVG, health. Asked for again every ten seconds.
(() => {
  const { at } = window.loom;
  const COLOURS = ["#4f6bed", "#c2571a", "#2e7d5b"], SPACE = "http://www.w3.org/2000/svg";
  let pictures = [], follow = true;

  function element(tag, given, ...children) {
    const found = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(given)) found.setAttribute(name, value);
    found.append(...children);
    return found;
  }
  function plot({ title, lines }) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const points = Object.values(lines).flat(), [width, height] = [300, 110];
    const [x0, x1] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
    const [y0, y1] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
    const place = ([x, y]) => `${(4 + (width - 8) * (x - x0) / (x1 - x0 || 1)).toFixed(1)},${(height - 4 - (height - 8) * (y - y0) / (y1 - y0 || 1)).toFixed(1)}`;
    const short = (y) => (Math.abs(y) >= 1000 || (y && Math.abs(y) < 0.01) ? y.toExponential(1) : +y.toFixed(2));
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const said = [];
    Object.entries(lines).filter(([, line]) => line.length).forEach(([name, line], i) => {
      svg.append(element("polyline", { points: line.map(place).join(" "), fill: "none", stroke: COLOURS[i % 3], "stroke-width": 1.6 }));
      said.push(`${name} ${short(line.at(-1)[1])}`);
      const key = document.createElement("span");
      key.textContent = `${name}: ${short(line.at(-1)[1])} `;
      key.style.color = COLOURS[i % 3];
      caption.append(key);
    });
    svg.setAttribute("aria-label", `${title}: now ${said.join(", ")}; from ${short(y0)} to ${short(y1)}`);
    const head = document.createElement("h4");
    head.textContent = title;
    const range = document.createElement("small");
    range.textContent = `${short(y0)} to ${short(y1)}, ${short(x0)} to ${short(x1)} thousand images`;
    figure.append(head, svg, caption, range);
    return figure;
  }
  function picture() {
    const chosen = pictures[+at("run-slider").value];
    if (!chosen) return;
    at("run-picture").src = `/loom/run?picture=${encodeURIComponent(chosen.name)}`;
    at("run-time").textContent = chosen.kimg === null ? "Start" : `After ${chosen.kimg} thousand images`;
  }
  async function refresh() {
    if (!at("run-name")?.offsetParent) return;
    const answer = await fetch("/loom/run");
    if (!answer.ok) return;
    const found = await answer.json();
    at("run-name").textContent = `${found.name}: ${Math.round(found.kimg)} thousand images`;
    at("run-health").replaceChildren(...found.health.map(({ level, text }) => Object.assign(document.createElement("li"), { className: level, textContent: text })));
    at("run-curves").replaceChildren(...found.curves.map(plot));
    const before = pictures.length;
    pictures = found.pictures;
    at("run-slider").max = Math.max(pictures.length - 1, 0);
    if (follow) at("run-slider").value = pictures.length - 1;
    if (before !== pictures.length || !at("run-picture").src) picture();
  }
  addEventListener("input", (event) => {
    if (event.target.id !== "run-slider") return;
    follow = +event.target.value === pictures.length - 1;
    picture();
  });
  addEventListener("click", () => setTimeout(refresh, 50));
  setInterval(refresh, 10000);
})();
