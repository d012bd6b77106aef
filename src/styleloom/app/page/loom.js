// The picture: what the controls say is asked for, one request at a time; small and fast while a hand moves.
window.loom = (() => {
  const at = (id) => document.getElementById(id);
  const REST_MS = 120;
  const state = { values: null, asked: "", shown: "", busy: false, dirty: false, held: false, timer: 0, count: 0 };
  let model = "", names = [];

  function controls() {
    return JSON.stringify(Object.fromEntries(names.map((name, i) => [name, state.values[i]])));
  }
  function query(extra = {}) {
    return new URLSearchParams({ model, controls: controls(), ...extra }).toString();
  }
  function changed(values) {
    const root = at("loom");
    if (!root) return;
    model = root.dataset.model;
    names = JSON.parse(root.dataset.names);
    state.values = [...values];
    poked();
  }
  function poked() {
    if (controls() === state.asked) return;
    state.dirty = true;
    clearTimeout(state.timer);
    state.timer = setTimeout(whole, REST_MS);
    if (!state.busy) step();
  }
  function whole() {
    if (state.held && state.dirty) return;  // a hand is on a slider, and the next preview comes
    state.want = true;
    if (!state.busy) step();
  }
  async function step() {
    if (!state.values) return;
    const preview = state.dirty && !state.want;
    if (!state.dirty && !state.want) return;
    state.busy = true;
    state.dirty = false;
    if (!preview) state.want = false;
    const asked = controls();
    state.asked = asked;
    try {
      const answer = await fetch(`/loom/picture?${query(preview ? { preview: "1" } : {})}`);
      if (!answer.ok) throw (await answer.json()).error ?? answer.statusText;
      await draw(await answer.blob(), answer.headers, asked, preview);
    } catch (error) {
      told(String(error), true);
      state.asked = "";
    }
    state.busy = false;
    if (state.want || state.dirty) step();
  }
  async function draw(blob, headers, asked, preview) {
    const bitmap = await createImageBitmap(blob);
    const canvas = at("loom-canvas"), [width, height] = [bitmap.width, bitmap.height];
    if (!preview) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    state.count += 1;
    const recipe = decodeURIComponent(headers.get("x-recipe") ?? "");
    Object.assign(canvas.dataset, { controls: asked, recipe, height, preview, count: state.count });
    if (!preview) shown(recipe, decodeURIComponent(headers.get("x-command") ?? ""));
  }
  function shown(recipe, command) {
    const link = `${location.origin}${location.pathname}${recipe ? "?" + recipe : ""}`;
    history.replaceState(null, "", link + location.hash);
    at("loom-link").value = link;
    at("loom-command").value = command;
    at("loom-download").href = `/loom/download?${query()}`;
    at("loom-latent").href = `/loom/download?${query({ what: "latent" })}`;
    told(recipe ? `Picture of ${recipe.replaceAll("&", ", ")}` : "Picture of seed 0");
  }
  function told(text, wrong = false) {
    const status = at("loom-status");
    status.textContent = text;
    status.classList.toggle("wrong", wrong);
  }
  function redraw() {
    state.asked = "";
    state.dirty = state.want = true;
    if (!state.busy) step();
  }
  function set(name, value) {  // one of Gradio's own fields, through the hidden button beside it
    window.loomNext = value;
    at(`set-${name}`)?.click();
  }
  async function copy(id, button) {
    const field = at(id);
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select();
      document.execCommand("copy");
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  }
  const chance = () => set("seed", Math.floor(Math.random() * 1e6));
  addEventListener("input", (event) => {  // sliders answer before Gradio has told all its parts
    if (event.target.type !== "range" || !state.values) return;
    const box = event.target.closest("[id^='c-']")?.id;
    const index = names.findIndex((name) => `c-${name.replaceAll("@", "-")}` === box);
    if (index < 0) return;
    state.values[index] = +event.target.value;
    poked();
  }, true);
  addEventListener("pointerdown", (event) => { state.held = event.target.matches?.("input[type=range]"); });
  for (const name of ["pointerup", "pointercancel"]) {
    addEventListener(name, () => {
      if (!state.held) return;
      state.held = false;
      clearTimeout(state.timer);
      state.timer = setTimeout(whole, 0);
    });
  }
  addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.dataset.copy) copy(button.dataset.copy, button);
    else if (button.id === "loom-random") chance();
    else if (button.id === "loom-reset") location.assign(location.pathname);
  });
  addEventListener("keydown", (event) => {
    if (event.target.id === "loom-canvas" && event.key.toLowerCase() === "r") chance();
  });
  return { at, changed, query, redraw, set, told, model: () => model, recipe: () => at("loom-canvas").dataset.recipe ?? "",
    named: (name) => state.values?.[names.indexOf(name)] };
})();
