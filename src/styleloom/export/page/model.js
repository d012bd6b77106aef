// The generator: seeds to pixels, in onnxruntime-web. Nothing is fetched but the files of this folder.

import * as ort from "./ort/ort.wasm.min.mjs";
import { normal } from "./normal.js";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that a static server does not send

const file = (name) => new URL(name, import.meta.url).href;

export async function load() {
  const about = await (await fetch(file("model.json"))).json();
  const names = about.space === "w" ? ["mapping", "synthesis"] : ["generator"];
  const sessions = {};
  for (const name of names) sessions[name] = await ort.InferenceSession.create(file(`${name}.onnx`));
  return new Model(about, sessions);
}

const tensor = (values, shape) => new ort.Tensor("float32", values, shape);

export class Model {
  constructor(about, sessions) {
    this.about = about;
    this.sessions = sessions;
  }

  inputs(seed, label) {
    const z = tensor(normal(seed, this.about.z_dim), [1, this.about.z_dim]);
    const number = BigInt64Array.from([BigInt(label)]);
    return this.about.classes ? { z, class: new ort.Tensor("int64", number, [1]) } : { z };
  }

  async styles(seed, label) {
    return (await this.sessions.mapping.run(this.inputs(seed, label))).ws.data;
  }

  // What an image is made from: seed; class; psi; second, a seed whose styles replace those from "from" up to,
  // but without, "to". Returns ImageData.
  async image({ seed, label = 0, psi = 1, second = 0, from = 0, to = 0 }) {
    if (this.about.space !== "w") {
      return this.pixels((await this.sessions.generator.run(this.inputs(seed, label))).image);
    }
    const { num_ws: count, w_avg: mean } = this.about, width = mean.length;
    const ws = Float32Array.from(await this.styles(seed, label));
    if (from < to) ws.set((await this.styles(second, label)).subarray(from * width, to * width), from * width);
    for (let i = 0; i < ws.length; i++) {
      if (this.about.truncated[Math.floor(i / width)]) ws[i] = mean[i % width] + psi * (ws[i] - mean[i % width]);
    }
    return this.pixels((await this.sessions.synthesis.run({ ws: tensor(ws, [1, count, width]) })).image);
  }

  pixels(image) {
    const [, channels, height, width] = image.dims, area = height * width;
    const pixels = new ImageData(width, height);
    for (let c = 0; c < 4; c++) {
      const from = channels >= 3 ? c : c < 3 ? 0 : channels; // grey is red, green and blue alike
      for (let i = 0; i < area; i++) { // ImageData clamps, and would round
        pixels.data[4 * i + c] = from < channels ? Math.floor(image.data[from * area + i] * 127.5 + 128) : 255;
      }
    }
    return pixels;
  }
}
