/** Publication keys. */

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Returns a new, unique publication key: a ULID of 10 time digits and 16 random digits. */
export function newKey(): string {
  let time = '';
  for (let i = 0, rest = Date.now(); i < 10; i += 1, rest = Math.floor(rest / 32)) time = DIGITS[rest % 32] + time;
  return time + Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => DIGITS[byte & 31]).join('');
}
