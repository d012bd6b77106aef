// Draw the portraits: one PNG per portrait, attributes.csv with what each of them shows, parts.csv with what each is
// made of.
//
// The parts are those of the npm package @dicebear/personas 9.4.3 (design by Draftbit, CC BY 4.0). Which parts a
// portrait has depends on its number alone, by SHA-256, so the first portraits are the same whatever the count. To
// repeat it:
//
//     npm install @dicebear/core@9.4.3 @dicebear/personas@9.4.3 @resvg/resvg-js@2.6.2
//     node make_portraits.mjs --count 100000 --part train --size 64 --out portraits
//     styleloom dataset build ./portraits portraits.zip --resolution 64 --labels portraits/attributes.csv
//
// `--part held-out` draws other portraits, one in ten of all: no picture is in both parts, and none twice in one,
// whatever the counts.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { createAvatar } from '@dicebear/core';
import * as personas from '@dicebear/personas';
import { Resvg } from '@resvg/resvg-js';

// How often each part is taken, in parts of the sum. Colours are part of the portrait as well.
const CHOICES = {
  hair: {
    long: 3, extraLong: 3, bobCut: 3, bobBangs: 3, pigtails: 2, curly: 3, curlyBun: 2, straightBun: 2,
    bunUndercut: 2, sideShave: 2, shortCombover: 3, shortComboverChops: 3, curlyHighTop: 3, fade: 2, buzzcut: 2,
    mohawk: 2, cap: 3, beanie: 3, balding: 1, bald: 2,
  },
  eyes: { open: 6, glasses: 4, sunglasses: 2, happy: 3, wink: 2, sleep: 1 },
  mouth: { smile: 5, bigSmile: 5, frown: 2, surprise: 3, smirk: 3, lips: 3, pacifier: 1 },
  nose: { mediumRound: 1, smallRound: 1, wrinkles: 1 },
  facialHair: { none: 14, beardMustache: 3, pyramid: 1, walrus: 1, goatee: 1, shadow: 1, soulPatch: 1 },
  body: { squared: 1, rounded: 1, small: 1, checkered: 1 },
  hairColor: {
    '362c47': 5, '1f1a24': 4, '6c4545': 5, '9a5b3c': 3, 'e8b75d': 4, 'f29c65': 2, 'e15c66': 1, 'e16381': 1,
    'dee1f5': 2,
  },
  skinColor: {
    'f2c9b4': 2, 'eeb4a4': 2, 'e7a391': 1, 'e5a07e': 2, 'd78774': 2, 'b16a5b': 2, '92594b': 2, '623d36': 2,
  },
  clothingColor: {
    '456dff': 1, '54d7c7': 1, '7555ca': 1, '6dbb58': 1, 'e24553': 1, 'f3b63a': 1, 'f55d81': 1,
  },
  backgroundColor: { 'b6e3f4': 1, 'c0aede': 1, 'd1d4f9': 1, 'ffd5dc': 1, 'ffdfbf': 1, 'd5f0d2': 1 },
};

const FRAME = { scale: 122, translateY: 4 };

const LONG = ['long', 'extraLong', 'bobCut', 'bobBangs', 'pigtails', 'sideShave'];
const HATS = ['cap', 'beanie'];

// The full beard is drawn over the mouth, with an open smile of its own, and over the lines beside the nose. Hats have
// colours of their own, and a buzz cut is hardly more than a shade on the skin.
const bearded = (p) => p.facialHair === 'beardMustache';
const showsHair = (p) => !HATS.includes(p.hair) && p.hair !== 'bald';

// What can be said of a portrait with yes or no, as it is seen.
const ATTRIBUTES = {
  glasses: (p) => p.eyes === 'glasses' || p.eyes === 'sunglasses',
  sunglasses: (p) => p.eyes === 'sunglasses',
  'eyes-closed': (p) => p.eyes === 'happy' || p.eyes === 'sleep',
  'facial-hair': (p) => p.facialHair !== 'none',
  'full-beard': bearded,
  smile: (p) => p.mouth === 'smile' || p.mouth === 'bigSmile' || bearded(p),
  'open-mouth': (p) => p.mouth === 'bigSmile' || p.mouth === 'surprise' || bearded(p),
  'long-hair': (p) => LONG.includes(p.hair),
  hat: (p) => HATS.includes(p.hair),
  bald: (p) => p.hair === 'bald' || p.hair === 'balding',
  bun: (p) => p.hair.endsWith('Bun') || p.hair === 'bunUndercut',
  'dark-hair': (p) =>
    ['362c47', '1f1a24', '6c4545'].includes(p.hairColor) && showsHair(p) && p.hair !== 'buzzcut',
  'dark-skin': (p) => ['b16a5b', '92594b', '623d36'].includes(p.skinColor),
  wrinkles: (p) => p.nose === 'wrinkles' && !bearded(p),
  'checked-shirt': (p) => p.body === 'checkered',
};

// Red, green and blue of each, 0 to 1, in attributes.csv.
const COLORS = { hair: 'hairColor', skin: 'skinColor', clothes: 'clothingColor', background: 'backgroundColor' };

function draw(name, field) {
  const digest = createHash('sha256').update(`${name}/${field}`).digest();
  const weights = Object.entries(CHOICES[field]);
  let rest = (digest.readUInt32BE(0) / 2 ** 32) * weights.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [value, weight] of weights) {
    rest -= weight;
    if (rest < 0) return value;
  }
  throw new Error('unreachable');
}

function portrait(name) {
  return Object.fromEntries(Object.keys(CHOICES).map((field) => [field, draw(name, field)]));
}

// The same text for portraits that look the same: what is hidden has no say.
function look(p) {
  const hairless = !showsHair(p) && p.facialHair === 'none';
  return JSON.stringify({ ...p, ...(bearded(p) && { mouth: '' }), ...(hairless && { hairColor: '' }) });
}

// One combination in ten is held out, by its hash.
function isHeldOut(p) {
  return createHash('sha256').update(JSON.stringify(p)).digest()[0] < 26;
}

function png(p, size) {
  const options = Object.fromEntries(Object.entries(p).map(([field, value]) => [field, [value]]));
  const shaven = p.facialHair === 'none';
  if (shaven) delete options.facialHair;
  const svg = createAvatar(personas, { ...options, ...FRAME, facialHairProbability: shaven ? 0 : 100 });
  return new Resvg(svg.toString(), { fitTo: { mode: 'width', value: size } }).render().asPng();
}

function channels(hex) {
  return [0, 2, 4].map((at) => (parseInt(hex.slice(at, at + 2), 16) / 255).toFixed(3));
}

const USAGE = 'usage: node make_portraits.mjs [--count 6000] [--part train|held-out] [--size 64] [--out portraits]';

function usage(problem) {
  console.error(`${problem}\n${USAGE}`);
  process.exit(2);
}

function settings() {
  const options = {
    count: { type: 'string', default: '6000' },
    part: { type: 'string', default: 'train' },
    size: { type: 'string', default: '64' },
    out: { type: 'string', default: 'portraits' },
  };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    usage(error.message);
  }
  const count = Number(values.count);
  const size = Number(values.size);
  if (!Number.isInteger(count) || count < 1) usage(`--count: ${values.count}; valid: 1 or more`);
  if (!Number.isInteger(size) || size < 8 || size > 1024) usage(`--size: ${values.size}; valid: 8 to 1024`);
  if (!['train', 'held-out'].includes(values.part)) usage(`--part: ${values.part}; valid: train or held-out`);
  if (fs.existsSync(values.out) && fs.readdirSync(values.out).length) usage(`--out: ${values.out} is not empty`);
  return { count, size, heldOut: values.part === 'held-out', out: values.out };
}

function main() {
  const { count, size, heldOut, out } = settings();
  fs.mkdirSync(out, { recursive: true });
  const colors = Object.keys(COLORS).flatMap((name) => ['red', 'green', 'blue'].map((channel) => `${name}-${channel}`));
  const attributes = [['name', ...Object.keys(ATTRIBUTES), ...colors].join(',')];
  const parts = [['name', ...Object.keys(CHOICES)].join(',')];
  // A picture belongs to the part of the first combination that looks like it, in both parts alike.
  const seen = new Set();
  for (let number = 0, done = 0; done < count; number += 1) {
    const p = portrait(`portrait-${number}`);
    if (seen.has(look(p))) continue;
    seen.add(look(p));
    if (isHeldOut(p) !== heldOut) continue;
    const file = `${String(done).padStart(6, '0')}.png`;
    fs.writeFileSync(path.join(out, file), png(p, size));
    const shown = Object.values(ATTRIBUTES).map((test) => Number(test(p)));
    attributes.push([file, ...shown, ...Object.values(COLORS).flatMap((field) => channels(p[field]))].join(','));
    parts.push([file, ...Object.values(p)].join(','));
    done += 1;
    if (done % 1000 === 0 || done === count) console.error(`${done} / ${count}`);
  }
  fs.writeFileSync(path.join(out, 'attributes.csv'), `${attributes.join('\n')}\n`);
  fs.writeFileSync(path.join(out, 'parts.csv'), `${parts.join('\n')}\n`);
}

main();
