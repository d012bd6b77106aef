// Draw the portraits: one PNG per seed, and attributes.csv with what each of them shows.
//
// The parts are those of the npm package @dicebear/personas 9.4.3 (design by Draftbit, CC BY 4.0). Which parts a
// portrait has depends on its name alone, by SHA-256, so the same name is the same picture whatever the count. To
// repeat it:
//
//     npm install @dicebear/core@9.4.3 @dicebear/personas@9.4.3 @resvg/resvg-js@2.6.2
//     node make_portraits.mjs --count 100000 --part train --size 64 --out portraits
//
// `--part held-out` draws portraits under other names, which no training set holds. Combinations that were drawn
// before are passed over, so all pictures differ.

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

const LONG = ['long', 'extraLong', 'bobCut', 'bobBangs', 'pigtails'];

// What can be said of a portrait with yes or no.
const ATTRIBUTES = {
  glasses: (p) => p.eyes === 'glasses' || p.eyes === 'sunglasses',
  sunglasses: (p) => p.eyes === 'sunglasses',
  'eyes-closed': (p) => p.eyes === 'happy' || p.eyes === 'sleep',
  'facial-hair': (p) => p.facialHair !== 'none',
  'full-beard': (p) => p.facialHair === 'beardMustache',
  smile: (p) => p.mouth === 'smile' || p.mouth === 'bigSmile',
  'open-mouth': (p) => p.mouth === 'bigSmile' || p.mouth === 'surprise',
  'long-hair': (p) => LONG.includes(p.hair),
  hat: (p) => p.hair === 'cap' || p.hair === 'beanie',
  bald: (p) => p.hair === 'bald' || p.hair === 'balding',
  bun: (p) => p.hair.endsWith('Bun') || p.hair === 'bunUndercut',
  'dark-hair': (p) => ['362c47', '1f1a24', '6c4545'].includes(p.hairColor),
  'dark-skin': (p) => ['b16a5b', '92594b', '623d36'].includes(p.skinColor),
  wrinkles: (p) => p.nose === 'wrinkles',
  'checked-shirt': (p) => p.body === 'checkered',
};

const COLORS = ['hairColor', 'skinColor', 'clothingColor', 'backgroundColor'];

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

function png(p, size) {
  const options = Object.fromEntries(Object.entries(p).map(([field, value]) => [field, [value]]));
  const bearded = p.facialHair !== 'none';
  if (!bearded) delete options.facialHair;
  const svg = createAvatar(personas, { ...options, ...FRAME, facialHairProbability: bearded ? 100 : 0 });
  return new Resvg(svg.toString(), { fitTo: { mode: 'width', value: size } }).render().asPng();
}

function channels(hex) {
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function main() {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '6000' },
      part: { type: 'string', default: 'train' },
      size: { type: 'string', default: '64' },
      out: { type: 'string', default: 'portraits' },
    },
  });
  const count = Number(values.count);
  const size = Number(values.size);
  if (!Number.isInteger(count) || count < 1) throw new Error(`--count: ${values.count}; at least 1`);
  if (!Number.isInteger(size) || size < 8 || size > 1024) throw new Error(`--size: ${values.size}; 8 to 1024`);
  if (!['train', 'held-out'].includes(values.part)) throw new Error('--part: train or held-out');
  fs.mkdirSync(values.out, { recursive: true });
  const head = ['image', ...Object.keys(ATTRIBUTES)];
  const labels = [head.join(',')];
  const parts = [['image', ...Object.keys(CHOICES), ...COLORS.flatMap((c) => ['r', 'g', 'b'].map((x) => `${c}_${x}`))].join(',')];
  // Held-out portraits share no combination with the first training portraits, whatever the counts: the parts of a
  // combination decide by their hash which of the two it belongs to.
  const seen = new Set();
  for (let number = 0; seen.size < count; number += 1) {
    const name = `portrait-${number}`;
    const p = portrait(name);
    const combination = JSON.stringify(p);
    const heldOut = createHash('sha256').update(combination).digest()[0] < 26; // one in ten
    if (seen.has(combination) || heldOut !== (values.part === 'held-out')) continue;
    const file = `${String(seen.size).padStart(6, '0')}.png`;
    seen.add(combination);
    fs.writeFileSync(path.join(values.out, file), png(p, size));
    labels.push([file, ...Object.values(ATTRIBUTES).map((test) => Number(test(p)))].join(','));
    parts.push([file, ...Object.values(p), ...COLORS.flatMap((color) => channels(p[color]))].join(','));
  }
  fs.writeFileSync(path.join(values.out, 'attributes.csv'), `${labels.join('\n')}\n`);
  fs.writeFileSync(path.join(values.out, 'parts.csv'), `${parts.join('\n')}\n`);
}

main();
