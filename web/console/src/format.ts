/** Numbers and times in words. */

export type Value = number | null | undefined;

const dash = '–';

/** At most three significant digits, with k, M or G: 15.5 k. */
export function short(value: Value): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return dash;
  const size = Math.abs(value);
  const [by, unit] = size >= 999.5e6 ? [1e9, ' G'] : size >= 999.5e3 ? [1e6, ' M'] : size >= 9_999.5 ? [1e3, ' k'] : [1, ''];
  const scaled = value / by;
  if (by === 1 && size >= 999.5) return Math.round(value).toLocaleString('en-GB');
  const digits = Math.abs(scaled) >= 99.95 ? 0 : Math.abs(scaled) >= 9.995 ? 1 : 2;
  return `${Number(scaled.toFixed(digits))}${unit}`;
}

/** A whole number with separators. */
export const whole = (value: Value): string => (value === null || value === undefined ? dash : Math.round(value).toLocaleString('en-GB'));

export function bytes(value: Value): string {
  if (value === null || value === undefined) return dash;
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]] as const) {
    if (value >= size) return `${short(value / size)} ${unit}`;
  }
  return `${short(value)} B`;
}

/** Microseconds as ms or s. */
export function micros(us: Value): string {
  if (us === null || us === undefined) return dash;
  return us >= 999_500 ? `${short(us / 1e6)} s` : us >= 100 ? `${short(us / 1e3)} ms` : `${short(us)} µs`;
}

/** Two times with one unit, if they are of one size: 1.7 / 9 ms. */
export function pair(low: Value, high: Value): string {
  const [one, other] = [micros(low), micros(high)];
  const [number = '', unit = ''] = one.split(' ');
  return unit !== '' && other.endsWith(` ${unit}`) ? `${number} / ${other}` : `${one} / ${other}`;
}

/** A duration: 40 s, 12 min, 3 h, 2 d. As the gateway's own sentences write it. */
export function lasting(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** Parts per million as percent. */
export function percent(ppm: Value, digits = 4): string {
  if (ppm === null || ppm === undefined) return dash;
  return `${Number((ppm / 1e4).toFixed(digits))} %`;
}

/** The share of a budget that is left, in whole percent; never rounded up to all or down to nothing. */
export function budget(ppm: Value): string {
  if (ppm === null || ppm === undefined) return dash;
  const share = ppm / 1e4;
  if (share > 99 && share < 100) return '99 %';
  if (share > 0 && share < 1) return '< 1 %';
  if (share < -999) return '< −999 %';
  return `${Math.round(share)} %`.replace('-', '−');
}

/** Thousandths as a burn rate: 1.4 ×. */
export const burn = (milli: Value): string => (milli === null || milli === undefined ? dash : `${short(milli / 1_000)} ×`);

const two = (value: number) => String(value).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The time of day, or the date if the axis spans more than two days. */
export function axisTime(ms: number, spanMs: number): string {
  const at = new Date(ms);
  if (spanMs > 2.5 * 86_400_000) return `${at.getDate()} ${MONTHS[at.getMonth()]}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return spanMs <= 900_000 ? `${time}:${two(at.getSeconds())}` : time;
}

/** Date and time in the browser's zone. */
export function clock(ms: number): string {
  const at = new Date(ms);
  return `${at.getDate()} ${MONTHS[at.getMonth()]} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
