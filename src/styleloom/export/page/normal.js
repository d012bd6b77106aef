// Normal numbers of a seed, as torch.manual_seed(seed); torch.randn(count) draws them on a CPU: the Mersenne
// twister and the method of Box and Muller.

const STATE = 624, SHIFT = 397;

export class Twister {
  constructor(seed) {
    this.state = new Uint32Array(STATE);
    this.state[0] = seed;
    for (let i = 1; i < STATE; i++) {
      const previous = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, previous) + i;
    }
    this.at = STATE;
  }

  next() { // 32 random bits
    if (this.at === STATE) this.turn();
    let y = this.state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  turn() {
    const s = this.state;
    for (let i = 0; i < STATE; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % STATE] & 0x7fffffff);
      s[i] = s[(i + SHIFT) % STATE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }

  float() { // in [0, 1), 24 bits
    return (this.next() & 0xffffff) / 0x1000000;
  }

  double() { // in [0, 1), 53 bits
    const high = this.next(), low = this.next();
    return ((high & 0x1fffff) * 0x100000000 + low) / 0x20000000000000;
  }
}

const GROUP = 16, HALF = 8;
const { fround, sqrt, log, cos, sin, PI } = Math;

function pairs(values, start) { // eight uniform numbers and eight others to sixteen normal ones
  for (let i = start; i < start + HALF; i++) {
    const radius = fround(sqrt(fround(-2 * fround(log(fround(1 - values[i]))))));
    const angle = fround(fround(2 * PI) * values[i + HALF]);
    values[i] = radius * fround(cos(angle));
    values[i + HALF] = radius * fround(sin(angle));
  }
}

export function normal(seed, count) {
  const random = new Twister(seed >>> 0), values = new Float32Array(count);
  if (count < GROUP) { // one pair after the other, in double precision
    for (let i = 0; i < count; i += 2) {
      const angle = 2 * PI * random.double(), radius = sqrt(-2 * Math.log1p(-random.double()));
      values[i] = radius * cos(angle);
      if (i + 1 < count) values[i + 1] = radius * sin(angle);
    }
    return values;
  }
  for (let i = 0; i < count; i++) values[i] = random.float();
  for (let start = 0; start + GROUP <= count; start += GROUP) pairs(values, start);
  if (count % GROUP) { // the last sixteen are drawn anew
    for (let i = count - GROUP; i < count; i++) values[i] = random.float();
    pairs(values, count - GROUP);
  }
  return values;
}
